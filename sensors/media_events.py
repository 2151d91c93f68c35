"""`media_events_sensor`: messages of `media.ingested.v1` become batch runs.

One tick reads a bounded amount from its own cursor, dead-letters what is invalid, registers
the rest in the ledger, adds new keys in one call and asks for runs over batches of them. The
cursor moves with the run requests, so a tick that dies is repeated; the ledger recognises
what it registered and the run keys, made from offsets, recognise what it launched.
"""

# No postponed annotations: Dagster reads the real ones of decorated functions.

import hashlib
from collections.abc import Mapping, Sequence

import dagster as dg

from media_pipeline import __version__
from media_pipeline.batch_tags import (
    SIZE_TAG,
    lane_tags,
    range_run_tags,
    set_run_config,
    set_run_tags,
)
from media_pipeline.domain.media_asset import MediaAsset
from media_pipeline.domain.ports import Arrival, EventSource, MetadataStore, Poll
from media_pipeline.domain.recovery import DependencyProbe, RecoveryStore
from media_pipeline.errors import TransientError
from media_pipeline.jobs import ENRICH_MEDIA_JOB, EnrichMediaJob
from media_pipeline.partitions import MEDIA_ASSETS
from media_pipeline.settings import CanarySettings, Settings
from sensors.batch_plan import batches
from sensors.canary import is_ours, scope_of_share
from sensors.cursor import MEDIA_EVENTS_SENSOR, SensorCursor
from sensors.gate import Gate, look
from sensors.intake import Sorted, lane_of, sort_arrivals, without_held
from sensors.runs import UNFINISHED

NAME = MEDIA_EVENTS_SENSOR
_MAX_RUN_KEY = 200
_OBSERVED_RUNS = 5


def build_media_events_sensor(settings: Settings, job: EnrichMediaJob) -> dg.SensorDefinition:
    """The sensor, running from the start; ports come as resources."""
    topic = settings.kafka.ingested_topic

    @dg.sensor(
        name=NAME,
        job=job,
        minimum_interval_seconds=settings.batch.tick_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Turns messages of {topic} into batches of asset partitions.",
    )
    def media_events_sensor(
        context: dg.SensorEvaluationContext,
        event_source: dg.ResourceParam[EventSource],
        metadata_store: dg.ResourceParam[MetadataStore],
        recovery_store: dg.ResourceParam[RecoveryStore],
        dependencies: dg.ResourceParam[DependencyProbe],
    ) -> dg.SensorResult | dg.SkipReason:
        gate = look(context.instance, recovery_store, dependencies)
        return evaluate(context, event_source, metadata_store, recovery_store, gate, settings)

    return media_events_sensor


def evaluate(
    context: dg.SensorEvaluationContext,
    event_source: EventSource,
    metadata_store: MetadataStore,
    recovery_store: RecoveryStore,
    gate: Gate,
    settings: Settings,
) -> dg.SensorResult | dg.SkipReason:
    """One tick. Raises only systemic and transient errors; the cursor then stays."""
    topic, batch = settings.kafka.ingested_topic, settings.batch
    cursor = SensorCursor.loads(context.cursor)
    _mirror(context, event_source, topic, cursor)
    stopped = gate.closed or _too_many_runs(context.instance, gate, batch.max_in_flight_runs)
    wanted = batch.min_keys if gate.trial else batch.max_messages_per_tick
    poll = event_source.poll(
        topic,
        cursor.of(topic),
        max_records=1 if stopped else wanted,
        deadline_seconds=batch.tick_deadline_seconds,
    )
    if stopped:
        waiting = poll.lag + len(poll.records)
        return dg.SkipReason(f"{stopped} No messages taken, {waiting} wait in {topic}.")
    if not poll.records:
        return dg.SkipReason(f"No new messages. {_where(topic, poll)}")
    found = sort_arrivals(
        poll.records,
        metadata_store,
        settings.object_store.allowed_buckets,
        batch,
        __version__,
    )
    found, held = without_held(found, lambda asset: _waits_for(asset, gate, settings.canary))
    for scope, arrivals in held.items():
        versions = [(one.asset.asset_id, one.asset.content_version) for one in arrivals]
        recovery_store.hold(versions, scope)
        if scope == scope_of_share(settings.canary.share):
            # By this sensor alone, one insert after the other: ranges rely on the order of keys.
            context.instance.add_dynamic_partitions(MEDIA_ASSETS, [one for one, _ in versions])
    requests = _run_requests(context.instance, found, settings)
    moved = cursor.moved(topic, poll.positions).dumps()
    kept = "".join(f", {len(some)} held for {one}" for one, some in held.items())
    summary = (
        f"{len(poll.records)} messages: {len(found.fresh)} new media assets,"
        f" {len(found.known) + sum(map(len, found.later))} ingested again,"
        f" {found.duplicates} duplicates, {len(found.rejected)} rejected{kept}"
        f" -> {len(requests)} runs. {_where(topic, poll)}"
    )
    context.log.info(summary)
    if not requests:
        return dg.SensorResult(skip_reason=dg.SkipReason(summary), cursor=moved)
    return dg.SensorResult(run_requests=requests, cursor=moved)


def _waits_for(asset: MediaAsset, gate: Gate, canary: CanarySettings) -> str:
    if asset.source.bucket in gate.paused_buckets:
        return f"bucket:{asset.source.bucket}"
    return "" if is_ours(asset.asset_id, canary) else scope_of_share(canary.share)


def _too_many_runs(instance: dg.DagsterInstance, gate: Gate, limit: int) -> str:
    """Why no run may be added, else empty."""
    if gate.trial:
        busy = _unfinished_runs(instance, 1)
        return "A batch is on trial after a breaker was open." if busy else ""
    running = _unfinished_runs(instance, limit)
    if running < limit:
        return ""
    return (
        f"{running} runs are unfinished (limit {limit}); the backlog is safe in the topic, add run"
        " slots to drain it."
    )


def _mirror(
    context: dg.SensorEvaluationContext,
    event_source: EventSource,
    topic: str,
    cursor: SensorCursor,
) -> None:
    """Commit the persisted cursor for lag dashboards; it is never read back, so a failure
    only makes a dashboard late."""
    if not cursor.of(topic):
        return
    try:
        event_source.commit(topic, cursor.of(topic))
    except TransientError as error:
        context.log.warning("Offsets were not mirrored to the consumer group: %s", error)


def _unfinished_runs(instance: dg.DagsterInstance, limit: int) -> int:
    """Counted up to the limit: the tick only needs to know whether it is reached."""
    runs = instance.get_run_records(
        dg.RunsFilter(job_name=ENRICH_MEDIA_JOB, statuses=list(UNFINISHED)), limit=limit
    )
    return len(runs)


def _run_requests(
    instance: dg.DagsterInstance, found: Sorted, settings: Settings
) -> list[dg.RunRequest]:
    pace = _seconds_per_asset(instance, settings.batch.assumed_seconds_per_asset)
    requests = []
    if found.fresh:
        # One insert for all, in order: the ranges below rely on insertion order.
        instance.add_dynamic_partitions(
            MEDIA_ASSETS, [arrival.asset.asset_id for arrival in found.fresh]
        )
        for part in batches(found.fresh, pace, settings.batch):
            keys = [arrival.asset.asset_id for arrival in part]
            requests.append(_request(part, "range", range_run_tags(keys), {}, settings))
    for number, wave in enumerate([found.known, *found.later]):
        if not wave:
            continue
        # A crash may have come between the ledger and Dagster; adding again is harmless.
        instance.add_dynamic_partitions(MEDIA_ASSETS, [arrival.asset.asset_id for arrival in wave])
        for part in batches(wave, pace, settings.batch):
            keys = [arrival.asset.asset_id for arrival in part]
            tags, config = set_run_tags(keys), set_run_config(keys)
            requests.append(_request(part, f"set{number}", tags, config, settings))
    return requests


def _request(
    part: Sequence[Arrival],
    kind: str,
    tags: Mapping[str, str],
    config: Mapping[str, object],
    settings: Settings,
) -> dg.RunRequest:
    lane = lane_of([arrival.asset for arrival in part])
    return dg.RunRequest(
        run_key=run_key(part, kind),
        run_config=dict(config),
        tags={**tags, **lane_tags(lane, settings.runs.priority_classes)},
    )


def run_key(part: Sequence[Arrival], kind: str) -> str:
    """The offsets that a batch covers: `topic:partition@first-last,...#kind`."""
    spans: dict[int, tuple[int, int]] = {}
    for arrival in part:
        partition, offset = arrival.record.partition, arrival.record.offset
        first, last = spans.get(partition, (offset, offset))
        spans[partition] = (min(first, offset), max(last, offset))
    covered = ",".join(f"{one}@{first}-{last}" for one, (first, last) in sorted(spans.items()))
    # Spans of two batches can overlap (a rejected message between); the exact offsets decide.
    exact = "\n".join(arrival.record.coordinates for arrival in part)
    digest = hashlib.sha256(exact.encode()).hexdigest()[:12]
    return f"{part[0].record.topic}:{covered}"[:_MAX_RUN_KEY] + f"#{kind}.{digest}"


def _seconds_per_asset(instance: dg.DagsterInstance, assumed: float) -> float:
    """What the last finished runs took per media asset; `assumed` before there are any."""
    records = instance.get_run_records(
        dg.RunsFilter(job_name=ENRICH_MEDIA_JOB, statuses=[dg.DagsterRunStatus.SUCCESS]),
        limit=_OBSERVED_RUNS,
    )
    seconds, assets = 0.0, 0
    for record in records:
        size = int(record.dagster_run.tags.get(SIZE_TAG, "0"))
        if size and record.start_time and record.end_time:
            seconds += record.end_time - record.start_time
            assets += size
    return seconds / assets if assets else assumed


def _where(topic: str, poll: Poll) -> str:
    positions = ", ".join(f"{one}@{offset}" for one, offset in sorted(poll.positions.items()))
    return f"Position {topic}: {positions}; lag {poll.lag}."
