"""`scaling_sensor`: the pools' slots follow the backlog, in estimated seconds of work.

Backlog of a workload: messages that no tick has read, content versions that the ledger has
unfinished, and queued backfill runs that ask for it. What a run has once been given stays its
own; fewer slots only let fewer new runs start.
"""

# No postponed annotations: Dagster reads the real ones of decorated functions.

from collections.abc import Sequence

import dagster as dg

from media_pipeline.batch_tags import BACKFILL_TAG, SIZE_TAG
from media_pipeline.domain.ports import EventSource, MetadataStore
from media_pipeline.settings import Settings
from sensors.cursor import media_positions
from sensors.scaling_plan import Target, plan_slots

NAME = "scaling_sensor"
_UNFINISHED = ("registered", "claimed", "retry")
_MAX_QUEUED = 500
_POLL_SECONDS = 5.0


def build_scaling_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor, running from the start; it launches no runs."""

    @dg.sensor(
        name=NAME,
        target=None,
        minimum_interval_seconds=settings.scaling.tick_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sets the slots of each workload's pool from its backlog in seconds of work.",
    )
    def scaling_sensor(
        context: dg.SensorEvaluationContext,
        event_source: dg.ResourceParam[EventSource],
        metadata_store: dg.ResourceParam[MetadataStore],
    ) -> dg.SkipReason:
        return evaluate(context, event_source, metadata_store, settings)

    return scaling_sensor


def evaluate(
    context: dg.SensorEvaluationContext,
    event_source: EventSource,
    metadata_store: MetadataStore,
    settings: Settings,
) -> dg.SkipReason:
    """One tick. Raises what the ledger or the event log raises; the slots then stay."""
    instance = context.instance
    unread = _unread(instance, event_source, settings.kafka.ingested_topic)
    counts = metadata_store.counts().by_status
    unfinished = sum(counts.get(status, 0) for status in _UNFINISHED)
    backfills = _queued_backfills(instance, settings)
    waiting: dict[str, int] = {
        workload: unread + unfinished + backfills.get(workload, 0)
        for workload in settings.workloads
    }
    targets = plan_slots(waiting, metadata_store.mean_seconds(), settings.scaling)
    changed = _apply(instance, targets)
    for target, before in changed:
        context.log.info("%s (before: %s)", target, "no limit" if before is None else before)
    said = f"{unread} unread messages, {unfinished} unfinished. " + "; ".join(map(str, targets))
    return dg.SkipReason(said)


def _unread(instance: dg.DagsterInstance, event_source: EventSource, topic: str) -> int:
    positions = media_positions(instance, topic)
    poll = event_source.poll(topic, positions, max_records=1, deadline_seconds=_POLL_SECONDS)
    return poll.lag + len(poll.records)


def _queued_backfills(instance: dg.DagsterInstance, settings: Settings) -> dict[str, int]:
    """Media assets per workload in queued backfill runs; a run that does not say how many it
    has counts as a full batch."""
    found: dict[str, int] = {}
    queued = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]),
        limit=_MAX_QUEUED,
    )
    for record in queued:
        run = record.dagster_run
        if BACKFILL_TAG not in run.tags:
            continue  # its media assets are unfinished in the ledger
        keys = int(run.tags.get(SIZE_TAG, settings.batch.max_keys))
        selected = {key.path[-1] for key in run.asset_selection or ()}
        for workload in settings.workloads:
            if not selected or workload in selected:
                found[workload] = found.get(workload, 0) + keys
    return found


def _apply(
    instance: dg.DagsterInstance, targets: Sequence[Target]
) -> list[tuple[Target, int | None]]:
    """Set what differs; answers that, with the slots before."""
    limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
    changed = []
    for target in targets:
        before = limits.get(target.workload)
        if before != target.slots:
            instance.event_log_storage.set_concurrency_slots(target.workload, target.slots)
            changed.append((target, before))
    return changed
