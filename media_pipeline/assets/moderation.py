"""`moderation`: a verdict on images and on the first pages of PDFs.

Artifact: `moderation.json`, see `media_pipeline.assets.moderation_work`.
"""

# No postponed annotations: Dagster reads the real ones of decorated functions.

from collections.abc import Iterator, Sequence

import dagster as dg

from media_pipeline.assets.batch import Batch, claim_batch
from media_pipeline.assets.checks import (
    ObservedOutcomes,
    check_moderation,
    check_specs,
    freshness_policy,
)
from media_pipeline.assets.derived_media import GROUP, OBJECT_STORE_IO_MANAGER
from media_pipeline.assets.moderation_work import KIND, ModerationWork, ready_judge
from media_pipeline.assets.recovery import deferred, guarded, pause_of
from media_pipeline.assets.source_media import SourceMedia
from media_pipeline.assets.staged_workload import process_staged_batch
from media_pipeline.assets.workload import Pool
from media_pipeline.domain.operations import OperationsLedger
from media_pipeline.domain.outcome import Outcomes
from media_pipeline.domain.ports import Claim, MetadataStore, ObjectStore
from media_pipeline.domain.recovery import RecoveryStore
from media_pipeline.errors import SystemicError
from media_pipeline.fingerprints import current_model, workload_fingerprint
from media_pipeline.models.registry import ModelManifest
from media_pipeline.partitions import media_assets_partitions
from media_pipeline.run_retries import systemic_errors_stop_retries
from media_pipeline.settings import Settings
from media_pipeline.telemetry.spans import Recorder


def build_moderation_asset(settings: Settings) -> dg.AssetsDefinition:
    """The Dagster asset `moderation`; without a model its runs stop and say what to do."""
    manifest = current_model(settings)
    fingerprint = workload_fingerprint(KIND, settings)
    fetch_threads = settings.object_store.transfer_threads

    @dg.asset(
        name=KIND,
        description=(
            "Moderation verdict (allow, review, block) with scores per label, on images and the"
            " first pages of PDFs, by the model that the registry names as current:"
            f" {manifest.reference if manifest else 'none yet'}."
        ),
        partitions_def=media_assets_partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.batch.max_keys),
        io_manager_key=OBJECT_STORE_IO_MANAGER,
        group_name=GROUP,
        kinds={"python", "pytorch", "s3"},
        tags={"workload": KIND},
        owners=["team:media-processing"],
        code_version=fingerprint,
        pool=KIND,
        check_specs=check_specs(KIND),
        freshness_policy=freshness_policy(settings.checks),
    )
    def moderation(  # noqa: PLR0917  # resources, given by name
        context: dg.AssetExecutionContext,
        traces: dg.ResourceParam[Recorder],  # noqa: ARG001  # records while the step lives
        batch: dg.ResourceParam[Batch],
        metadata_store: dg.ResourceParam[MetadataStore],
        operations_ledger: dg.ResourceParam[OperationsLedger],
        object_store: dg.ResourceParam[ObjectStore],
        recovery_store: dg.ResourceParam[RecoveryStore],
        source_media: dg.ResourceParam[SourceMedia],
        worker_pool: dg.ResourceParam[Pool],
    ) -> Iterator[dg.Output[Outcomes] | dg.AssetCheckResult]:
        def outcomes() -> Outcomes:
            pause = pause_of(context, recovery_store, KIND)
            if pause is not None:  # before the model is asked for: it may be what is broken
                return deferred(KIND, claim_batch(context, batch, metadata_store), pause)
            with systemic_errors_stop_retries(context.instance, context.run.run_id):
                work = ready_work(settings, manifest, object_store)
            claims = claim_batch(context, batch, metadata_store)

            def process(some: Sequence[Claim]) -> Outcomes:
                return process_staged_batch(
                    work,
                    some,
                    fetch=source_media.fetch,
                    pool=worker_pool,
                    fetch_threads=fetch_threads,
                )

            attempts = settings.processing.max_attempts
            return guarded(work.spec, context.run.run_id, claims, recovery_store, attempts, process)

        observed = ObservedOutcomes(outcomes())
        yield dg.Output(observed)  # the IO manager works through it before this goes on
        yield check_moderation(observed, settings.checks, operations_ledger, fingerprint)

    return moderation


def ready_work(
    settings: Settings, manifest: ModelManifest | None, store: ObjectStore
) -> ModerationWork:
    """The work with its model on local disk; SystemicError `model_missing` without one."""
    if manifest is None:
        raise SystemicError(
            "moderation has no model: the registry names none.",
            remedy="`media-pipeline models import opennsfw`, or leave moderation out of"
            " MEDIA_PIPELINE_WORKLOADS.",
            code="model_missing",
        )
    return ModerationWork(settings, ready_judge(settings, manifest, store))
