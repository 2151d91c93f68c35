"""`outbox_relay_sensor`: what the ledger decided becomes events, at least once.

A row is published first and marked after, so a crash between the two publishes it again;
consumers de-duplicate by event id. Nothing is ever marked that was not acknowledged.
"""

# No postponed annotations: Dagster reads the real ones of decorated functions.

import time
from dataclasses import dataclass

import dagster as dg

from media_pipeline.domain.ports import EventSink, MetadataStore
from media_pipeline.settings import Settings

NAME = "outbox_relay_sensor"


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
) -> Relayed:
    """Publish unpublished outbox rows, oldest first, chunk by chunk until none is left."""
    deadline = time.monotonic() + deadline_seconds
    moved = 0
    while time.monotonic() < deadline:
        events = metadata_store.unpublished(chunk)
        if not events:
            return Relayed(moved, more=False)
        event_sink.publish(events)
        metadata_store.mark_published([event.event_id for event in events])
        moved += len(events)
        if len(events) < chunk:
            return Relayed(moved, more=False)
    return Relayed(moved, more=True)


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
        done = relay(
            metadata_store,
            event_sink,
            chunk=settings.ledger.page_rows,
            deadline_seconds=settings.batch.tick_deadline_seconds,
        )
        said = f"Published {done.events} events{', more are waiting' if done.more else ''}."
        if done.events:
            context.log.info(said)
        return dg.SkipReason(said)

    return outbox_relay_sensor
