"""`run_retention_sensor`: old runs leave Dagster with their events, once nothing shows them.

Runs and events grow for ever otherwise. A run stays as long as one of its asset partitions is
known: its events are what Dagster shows of that partition. The ledger keeps every outcome.
"""

# No postponed annotations: Dagster reads the real ones of decorated functions.

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg

from media_pipeline.partitions import MEDIA_ASSETS
from media_pipeline.settings import RetirementSettings, Settings

NAME = "run_retention_sensor"
_ENDED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
_EVENTS = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
}
_PAGE = 1000


def build_run_retention_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor, running from the start; it launches no runs."""

    @dg.sensor(
        name=NAME,
        target=None,
        minimum_interval_seconds=settings.retirement.tick_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Deletes runs and their events that are old and shown by no asset partition.",
    )
    def run_retention_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return evaluate(context, settings.retirement)

    return run_retention_sensor


def evaluate(
    context: dg.SensorEvaluationContext,
    settings: RetirementSettings,
    clock: Callable[[], float] = time.time,
) -> dg.SensorResult:
    """One tick: a page of old runs, oldest first. The cursor is the last one's time of creation;
    after the last page it is empty, and the next tick begins anew."""
    started = time.monotonic()
    instance, now = context.instance, datetime.fromtimestamp(clock(), UTC)
    after = datetime.fromisoformat(context.cursor) if context.cursor else None
    records = instance.get_run_records(
        dg.RunsFilter(
            statuses=_ENDED,
            created_before=now - timedelta(days=settings.keep_run_days),
            created_after=after,
        ),
        limit=settings.max_runs_per_tick,
        order_by="create_timestamp",
        ascending=True,
    )
    known = set(instance.get_dynamic_partitions(MEDIA_ASSETS)) if records else set()
    deleted, looked = 0, 0
    for record in records:
        if time.monotonic() - started > settings.tick_deadline_seconds:
            break
        looked += 1
        after = record.create_timestamp
        if not _shown(instance, record.dagster_run.run_id, known):
            instance.delete_run(record.dagster_run.run_id)
            deleted += 1
    last = looked == len(records) < settings.max_runs_per_tick
    said = (
        f"Looked at {looked} runs older than {settings.keep_run_days:g} days: deleted {deleted},"
        f" {looked - deleted} have asset partitions that are still known."
    )
    if deleted:
        context.log.info(said)
    cursor = "" if last or after is None else after.isoformat()
    return dg.SensorResult(skip_reason=dg.SkipReason(said), cursor=cursor)


def _keys(event: dg.DagsterEvent) -> set[str]:
    """One key, or all of a range run's plan."""
    if event.partition is not None:
        return {event.partition}
    subset = getattr(event.event_specific_data, "partitions_subset", None)
    return set(subset.get_partition_keys()) if subset is not None else set()


def _shown(instance: dg.DagsterInstance, run_id: str, known: set[str]) -> bool:
    """Whether a known asset partition was made, or was to be made, by that run."""
    cursor = None
    while True:
        page = instance.get_records_for_run(run_id, cursor=cursor, of_type=_EVENTS, limit=_PAGE)
        for record in page.records:
            event = record.event_log_entry.dagster_event
            if event is not None and not known.isdisjoint(_keys(event)):
                return True
        if not page.has_more or not page.records:
            return False
        cursor = page.cursor
