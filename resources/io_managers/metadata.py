"""MetadataIOManager: results of many media assets, recorded in the ledger in one transaction.

Takes `Results` and calls `record` once per page: derivative rows, outcome, enriched event or
dead letter appear together or not at all. A result whose fence is stale is refused by the
ledger (another run has taken over) and its key is not materialized here. Keys that ended in a
dead letter or wait for a retry are not materialized either.

An input annotated `Results` is not offered: downstream Dagster assets load `Derivatives`, the
ledger's rows of the latest content version of each key.

For rows of your own behind PostgREST, without this pipeline's ledger, see
`resources.io_managers.table.TableIOManager`.
"""

# No postponed annotations: Dagster reads ResourceDependency from the real ones.
import time
from collections import Counter
from collections.abc import Iterator, Mapping

import dagster as dg

from media_pipeline import __version__
from media_pipeline.domain.identity import enriched_event_id
from media_pipeline.domain.outcome import Derivatives
from media_pipeline.domain.ports import AssetResult, MetadataStore
from media_pipeline.domain.results import Results
from media_pipeline.run_retries import systemic_errors_stop_retries
from media_pipeline.telemetry import spans
from media_pipeline.telemetry.outcome_log import tell_outcomes
from media_pipeline.telemetry.phases import phase
from resources.batch import BatchResource
from resources.io_managers.input_versions import input_tags
from resources.io_managers.partition_events import (
    Stored,
    materializations,
    observations,
)


class MetadataIOManager(dg.ConfigurableIOManager):
    """Records a batch in the ledger and materializes exactly the enriched keys."""

    metadata_store: dg.ResourceDependency[MetadataStore]
    batch: dg.ResourceDependency[BatchResource]

    def handle_output(  # type: ignore[override]  # Dagster takes generators, its types do not
        self, context: dg.OutputContext, obj: Results
    ) -> Iterator[dg.DagsterEvent]:
        """Record everything; raises what the ledger raises."""
        started = time.monotonic()
        with (
            systemic_errors_stop_retries(context.step_context.instance, context.run_id),
            phase("record"),
        ):
            began = time.time()
            recorded = self.metadata_store.record(context.run_id, obj, __version__)
        _note_attempts(obj, began)
        tell_outcomes(obj, recorded, context.run_id, context.step_context.run_tags)
        accepted = {row.asset_id for row in recorded if row.accepted}
        refused = sorted(f"{row.asset_id}: {row.reason}" for row in recorded if not row.accepted)
        if refused:
            context.log.warning(
                "The ledger refused %d results (another run has taken over): %s",
                len(refused),
                refused[:20],
            )
        enriched = {
            result.asset_id: _describe(result, input_tags(context, result.asset_id))
            for result in obj
            if result.asset_id in accepted and result.verdict.status in ("complete", "partial")
        }
        statuses = Counter(result.verdict.status for result in obj)
        shared: dict[str, dg.MetadataValue] = {
            "batch_keys": dg.MetadataValue.int(len(obj)),
            "batch_statuses": dg.MetadataValue.json(dict(sorted(statuses.items()))),
            "batch_refused": dg.MetadataValue.int(len(refused)),
            "batch_record_seconds": dg.MetadataValue.float(round(time.monotonic() - started, 3)),
        }
        context.add_output_metadata(shared)
        ended_otherwise = {
            row.asset_id: _facts(row)
            for row in obj
            if row.asset_id in accepted and row.asset_id not in enriched
        }
        yield from observations(context, ended_otherwise)
        yield from materializations(context, enriched, shared)

    def load_input(self, context: dg.InputContext) -> Derivatives:
        """The ledger's rows of the batch's keys, one kind per key joined as `<key>/<kind>`."""
        keys = self.batch.behind(context.asset_partition_keys)
        rows = self.metadata_store.derivatives(keys)
        return Derivatives({f"{row.asset_id}/{row.kind}": row for row in rows})


def _note_attempts(results: Results, began: float) -> None:
    """The last word on each media asset; `began`: of the call that recorded it."""
    now = time.time()
    for result in results:
        whose, status = (result.asset_id, result.content_version), result.verdict.status
        failure = result.verdict.code if status in ("dead_lettered", "retry") else ""
        spans.note("record", *whose, started=began, ended=now)
        spans.note(
            "media asset", *whose, started=began, ended=now, failure=failure, whole=True,
            keep=status == "partial", status=status, stage=result.verdict.stage,
        )  # fmt: skip


def _describe(result: AssetResult, tags: Mapping[str, str]) -> Stored:
    """What Dagster keeps of one enriched media asset."""
    fingerprints = {row.kind: row.fingerprint for row in result.derivatives}
    return Stored(
        metadata=_facts(result),
        data_version=enriched_event_id(result.asset_id, result.content_version, fingerprints),
        code_version=__version__,
        tags=tags,
    )


def _facts(result: AssetResult) -> dict[str, dg.MetadataValue]:
    """How one media asset ended, for people."""
    text = dg.MetadataValue.text
    metadata: dict[str, dg.MetadataValue] = {
        "status": text(result.verdict.status),
        "content_version": text(result.content_version),
        "content_digest": text(result.content_digest or ""),
        "size_bytes": dg.MetadataValue.int(result.size_bytes),
        "kinds": dg.MetadataValue.json({row.kind: str(row.code) for row in result.derivatives}),
    }
    if result.verdict.message:
        why = f"{result.verdict.stage}: {result.verdict.code}: {result.verdict.message}"
        metadata["reason"] = text(why)
    if result.event:
        metadata["event_id"] = text(result.event.event_id)
    if result.dead_letter:
        metadata["dead_letter"] = text(result.dead_letter.dlq_id)
    return metadata
