"""`text` and `thumbnails`: the workloads that read the uploaded object itself."""

# No postponed annotations: Dagster reads the real ones of decorated functions.

from collections.abc import Callable, Iterator, Mapping, Sequence

import dagster as dg

from media_pipeline.assets.batch import Batch, claim_batch
from media_pipeline.assets.checks import (
    ObservedOutcomes,
    check_specs,
    check_text,
    check_thumbnails,
    freshness_policy,
)
from media_pipeline.assets.recovery import deferred, guarded, pause_of
from media_pipeline.assets.source_media import SourceMedia
from media_pipeline.assets.workload import Pool, Workload, process_batch
from media_pipeline.domain.outcome import Outcomes
from media_pipeline.domain.ports import Claim, MetadataStore
from media_pipeline.domain.recovery import RecoveryStore
from media_pipeline.fingerprints import workload_fingerprint
from media_pipeline.partitions import media_assets_partitions
from media_pipeline.processing.processors import params_from
from media_pipeline.settings import CheckSettings, Settings
from media_pipeline.telemetry.spans import Recorder

GROUP = "media"
OBJECT_STORE_IO_MANAGER = "object_store_io_manager"

_DESCRIPTIONS: Mapping[str, str] = {
    "text": (
        "Text of each media asset: PDF pages in reading order with a class per page (text,"
        " scan, garbled, blank), plain text and HTML. Stored as `text.json.gz` and `text.txt`."
        " Media without a text layer are `not_applicable`, unknown types `unsupported`:"
        " both are handled and materialized, with the reason."
    ),
    "thumbnails": (
        "Thumbnails of each image and of the first page of each PDF, in all configured sizes,"
        " upright, in sRGB, as WebP. Byte-identical for the same input and fingerprint."
    ),
}
_CHECKS: Mapping[str, Callable[[ObservedOutcomes, CheckSettings], dg.AssetCheckResult]] = {
    "text": check_text,
    "thumbnails": check_thumbnails,
}
_DEADLINES = {"text": "text_deadline_seconds", "thumbnails": "thumbnail_deadline_seconds"}


def build_workload(kind: str, settings: Settings) -> Workload:
    """What is done with each file: `kind` is `text` or `thumbnails`."""
    return Workload(
        kind=kind,
        fingerprint=workload_fingerprint(kind, settings),
        params=params_from(kind, settings.processing.model_dump()),
        deadline_seconds=getattr(settings.processing, _DEADLINES[kind]),
    )


def build_derived_media_asset(kind: str, settings: Settings) -> dg.AssetsDefinition:
    """The Dagster asset of one workload: `kind` is `text` or `thumbnails`."""
    workload = build_workload(kind, settings)
    fetch_threads = settings.object_store.transfer_threads

    @dg.asset(
        name=kind,
        description=_DESCRIPTIONS[kind],
        partitions_def=media_assets_partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.batch.max_keys),
        io_manager_key=OBJECT_STORE_IO_MANAGER,
        group_name=GROUP,
        kinds={"python", "s3"},
        tags={"workload": kind},
        owners=["team:media-processing"],
        # The fingerprint as code version: a new processor, setting or library makes it stale.
        code_version=workload.fingerprint,
        pool=kind,
        check_specs=check_specs(kind),
        freshness_policy=freshness_policy(settings.checks),
    )
    def derived_media(
        context: dg.AssetExecutionContext,
        traces: dg.ResourceParam[Recorder],  # noqa: ARG001  # records while the step lives
        batch: dg.ResourceParam[Batch],
        metadata_store: dg.ResourceParam[MetadataStore],
        recovery_store: dg.ResourceParam[RecoveryStore],
        source_media: dg.ResourceParam[SourceMedia],
        worker_pool: dg.ResourceParam[Pool],
    ) -> Iterator[dg.Output[Outcomes] | dg.AssetCheckResult]:
        def outcomes() -> Outcomes:
            pause = pause_of(context, recovery_store, kind)
            claims = claim_batch(context, batch, metadata_store)
            context.log.info("%s: %d media assets in this batch", kind, len(claims))
            if pause is not None:
                return deferred(kind, claims, pause)

            def process(some: Sequence[Claim]) -> Outcomes:
                return process_batch(
                    workload,
                    some,
                    fetch=source_media.fetch,
                    pool=worker_pool,
                    fetch_threads=fetch_threads,
                )

            return guarded(
                workload,
                context.run.run_id,
                claims,
                recovery_store,
                settings.processing.max_attempts,
                process,
            )

        observed = ObservedOutcomes(outcomes())
        yield dg.Output(observed)  # the IO manager works through it before this goes on
        yield _CHECKS[kind](observed, settings.checks)

    return derived_media
