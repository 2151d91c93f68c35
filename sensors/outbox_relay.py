"""`outbox_relay_sensor`: what the ledger decided becomes events, at least once.

A row is published first and marked after, so a crash between the two publishes it again;
consumers de-duplicate by event id. Nothing is ever marked that was not acknowledged.
"""

# No postponed annotations: Dagster reads the real ones of decorated functions.

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from media_pipeline.contracts.asset_enriched import parse_asset_enriched
from media_pipeline.contracts.json_document import NotJsonError
from media_pipeline.domain.ports import EventSink, MetadataStore, OutgoingEvent
from media_pipeline.settings import Settings
from media_pipeline.telemetry import spans
from media_pipeline.telemetry.traces import tracing

NAME = "outbox_relay_sensor"


#: Pause between two looks at the outbox while runs may still add to it.
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Relayed:
    """How many events went out, and whether more may be waiting."""

    events: int
    more: bool


def relay(
    metadata_store: MetadataStore,
    event_sink: EventSink,
    *,
    chunk: int,
    deadline_seconds: float,
    linger_seconds: float = 0.0,
    wait: Callable[[float], object] = time.sleep,
    stopped: Callable[[], bool] = lambda: False,
) -> Relayed:
    """Publish unpublished outbox rows, oldest first, chunk by chunk until none is left.

    It ends early between two chunks, never inside one, when `stopped` says so.

    With `linger_seconds` it looks again for that long: an event of a run that ends now goes
    out at once, and not with the daemon's next round.
    """
    started = time.monotonic()
    deadline, patience = started + deadline_seconds, started + linger_seconds
    moved = 0
    while time.monotonic() < deadline and not stopped():
        events = metadata_store.unpublished(chunk)
        if events:
            began = time.time()
            event_sink.publish(events)
            _note_published(events, began)
            metadata_store.mark_published([event.event_id for event in events])
            moved += len(events)
        if len(events) < chunk:
            if time.monotonic() + _LOOK_SECONDS > min(deadline, patience):
                return Relayed(moved, more=False)
            wait(_LOOK_SECONDS)
    return Relayed(moved, more=True)


def _note_published(events: Sequence[OutgoingEvent], began: float) -> None:
    """A span in the trace of each event's media asset; invalid messages have none."""
    now = time.time()
    for event in events:
        told = _told_by(event)
        if told.get("asset_id") and told.get("content_version"):
            failure = told.get("error.code") or ""
            spans.note(
                "publish", told["asset_id"], told["content_version"], started=began, ended=now,
                run_id=told.get("run_id") or "", failure=failure, topic=event.topic,
                keep=told.get("outcome") == "partial",
            )  # fmt: skip


def _told_by(event: OutgoingEvent) -> Mapping[str, str]:
    """Whose event it is: dead letters say so in headers, enriched events in their payload."""
    headers = {name: value.decode("utf-8", "replace") for name, value in event.headers}
    if "dlq.id" in headers:
        return headers
    try:
        return parse_asset_enriched(event.payload or b"")
    except NotJsonError:
        return {}


def _linger(context: dg.SensorEvaluationContext, settings: Settings) -> float:
    """Only while runs are under way: an idle tick stays cheap."""
    under_way = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
    if context.instance.get_run_ids(under_way, limit=1):
        return settings.batch.relay_linger_seconds
    return 0.0


def build_outbox_relay_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor, running from the start; it launches no runs."""

    @dg.sensor(
        name=NAME,
        target=None,
        minimum_interval_seconds=settings.batch.tick_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Publishes the ledger's outbox: enriched events and dead letters.",
    )
    def outbox_relay_sensor(
        context: dg.SensorEvaluationContext,
        metadata_store: dg.ResourceParam[MetadataStore],
        event_sink: dg.ResourceParam[EventSink],
    ) -> dg.SkipReason:
        with tracing(settings.telemetry, ""):
            done = relay(
                metadata_store,
                event_sink,
                chunk=settings.ledger.page_rows,
                deadline_seconds=settings.batch.tick_deadline_seconds,
                linger_seconds=_linger(context, settings),
            )
        said = f"Published {done.events} events{', more are waiting' if done.more else ''}."
        if done.events:
            context.log.info(said)
        return dg.SkipReason(said)

    return outbox_relay_sensor
