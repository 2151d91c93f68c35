"""Large dead letters: their bytes go to the object store, the event carries a pointer.

Without this a message just below the broker's limit would, with the reason added to its
headers, be above it: its dead letter could never be published, and nothing behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

from media_pipeline.contracts.dead_letter import offload
from media_pipeline.domain.ports import EventSink, ObjectStore, OutgoingEvent


class OffloadingEventSink:
    """`EventSink` before another one; only events of the dead-letter topic are looked at."""

    def __init__(self, sink: EventSink, object_store: ObjectStore, dead_letter_topic: str) -> None:
        self._sink = sink
        self._object_store = object_store
        self._topic = dead_letter_topic

    def publish(self, events: Sequence[OutgoingEvent]) -> None:
        """Payloads first, then the events: a pointer never leads nowhere."""
        self._sink.publish([self._small(event) for event in events])

    def _small(self, event: OutgoingEvent) -> OutgoingEvent:
        moved = offload(event) if event.topic == self._topic else None
        if moved is None:
            return event
        small, pointer = moved
        self._object_store.put(pointer.object_key, event.payload or b"", "application/octet-stream")
        return small
