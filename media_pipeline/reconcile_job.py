"""`reconcile_job`: every day, whether objects, ledger, topic and Dagster say the same.

It changes nothing. With findings the run fails and names the remedy of each kind; its metadata
has the first of them, `media-pipeline reconcile` has them all.
"""

# No postponed annotations: Dagster reads the real ones of decorated functions.

import time
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from media_pipeline.domain.ports import EventSource
from media_pipeline.domain.reconciliation import LedgerAudit, StoredObjects
from media_pipeline.replays.findings import Findings
from media_pipeline.replays.reconciliation import Facts, Window, reconcile
from media_pipeline.settings import Settings
from sensors.cursor import SensorCursor
from sensors.media_events import NAME

RECONCILE_JOB = "reconcile_job"
#: What is younger may still be under way.
IDLE_SECONDS = 3600
#: A day and an hour: the intervals of two days overlap, so that a late run leaves no hole.
WINDOW_SECONDS = 25 * 3600
_SHOWN = 50
_PAGE = 1000
_ENRICHMENT = dg.AssetKey("enrichment")


class InstanceMaterializations:
    """`Materializations` on the instance that the run belongs to."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def latest(self, asset_ids: Sequence[str]) -> Mapping[str, float]:
        """See `Materializations.latest`."""
        missing, found = set(asset_ids), dict[str, float]()
        while missing:
            wanted = dg.AssetRecordsFilter(_ENRICHMENT, asset_partitions=sorted(missing))
            page = self._instance.fetch_materializations(wanted, limit=_PAGE).records
            for record in page:
                if record.partition_key in missing:
                    found[record.partition_key] = record.timestamp
            if not page:
                break
            missing -= set(found)
        return found

    def between(self, since: float, until: float) -> Iterator[Mapping[str, float]]:
        """See `Materializations.between`."""
        wanted = dg.AssetRecordsFilter(_ENRICHMENT, after_timestamp=since, before_timestamp=until)
        cursor = None
        while True:
            page = self._instance.fetch_materializations(wanted, limit=_PAGE, cursor=cursor)
            times: dict[str, float] = {}
            for record in page.records:
                if record.partition_key:
                    known = times.get(record.partition_key, 0.0)
                    times[record.partition_key] = max(known, record.timestamp)
            if times:
                yield times
            if not page.has_more:
                return
            cursor = page.cursor


def build_reconcile_job(settings: Settings) -> dg.JobDefinition:
    """One op over the ports; it reads a day, or what its config says."""

    @dg.op(
        name="reconcile",
        config_schema={
            "since": dg.Field(float, is_required=False, description="Seconds since the epoch."),
            "until": dg.Field(float, is_required=False, description="Seconds, excluded."),
        },
        description="Objects, ledger, topic and Dagster, compared. Fails when they differ.",
    )
    def reconcile_op(
        context: dg.OpExecutionContext,
        event_source: dg.ResourceParam[EventSource],
        object_store: dg.ResourceParam[StoredObjects],
        ledger_audit: dg.ResourceParam[LedgerAudit],
    ) -> None:
        until = context.op_config.get("until", time.time() - IDLE_SECONDS)
        window = Window(context.op_config.get("since", until - WINDOW_SECONDS), until)
        topic = settings.kafka.ingested_topic
        facts = Facts(
            topic, event_source, object_store, ledger_audit,
            InstanceMaterializations(context.instance), cursor_of(context.instance).of(topic),
            settings.object_store.allowed_buckets,
        )  # fmt: skip
        found = reconcile(
            facts, window, idle_seconds=IDLE_SECONDS,
            before_each=lambda name: context.log.info("comparing %s", name),
        )  # fmt: skip
        context.add_output_metadata(_metadata(found, window))
        require_clean(found, window)

    @dg.job(
        name=RECONCILE_JOB,
        description="Once a day: do objects, ledger, topic and Dagster say the same?",
        # Found once, found again: a retry would only tell it twice.
        tags={"dagster/max_retries": "0", "dagster/priority": "-20"},
        executor_def=dg.in_process_executor,
    )
    def reconcile_job() -> None:
        reconcile_op()

    return reconcile_job


def build_reconcile_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Daily, in the night of UTC; on from the start."""
    return dg.ScheduleDefinition(
        name="reconcile_schedule",
        job=job,
        cron_schedule="23 3 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Compares the last day; fails and names the remedy when something is missing.",
    )


def cursor_of(instance: dg.DagsterInstance) -> SensorCursor:
    """The media sensor's cursor as the instance keeps it; empty before its first tick."""
    for state in instance.all_instigator_state():
        if state.instigator_name == NAME:
            return SensorCursor.loads(getattr(state.instigator_data, "cursor", None))
    return SensorCursor()


def require_clean(found: Findings, window: Window) -> None:
    """Failure that names each kind of finding and its remedy."""
    if found.clean:
        return
    since, until = window.iso()
    raise dg.Failure(
        f"{sum(found.counts.values())} findings between {since} and {until}: "
        + " ".join(found.lines()),
        metadata=_metadata(found, window),
        allow_retries=False,
    )


def _metadata(found: Findings, window: Window) -> dict[str, dg.MetadataValue]:
    since, until = window.iso()
    shown = [f"- {one.kind} `{one.subject}`: {one.detail}" for one in found.kept[:_SHOWN]] or [
        "nothing"
    ]
    return {
        "since": dg.MetadataValue.text(since),
        "until": dg.MetadataValue.text(until),
        "compared": dg.MetadataValue.json(dict(found.compared)),
        "counts": dg.MetadataValue.json(dict(found.counts)),
        "first_findings": dg.MetadataValue.md("\n".join(shown)),
    }
