"""The writing side of the event log (Kafka protocol): published means acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from media_pipeline.domain.ports import CredentialSource, OutgoingEvent
from media_pipeline.settings import KafkaSettings
from resources.event_log_client import KafkaConnection


class KafkaEventSink(KafkaConnection):
    """`EventSink` on kafka-python: idempotent producer, acknowledgement from all replicas."""

    def __init__(self, settings: KafkaSettings, credentials: CredentialSource) -> None:
        super().__init__(settings, credentials)
        self._producer: Any = None

    def publish(self, events: Sequence[OutgoingEvent]) -> None:
        """Returns when all are acknowledged; raises otherwise, and some may be out."""
        if not events:
            return
        self._talk(f"publishing {len(events)} events", lambda: self._publish(events))

    def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=5)

    def _publish(self, events: Sequence[OutgoingEvent]) -> None:
        producer = self._connected()
        pending = [
            producer.send(
                event.topic,
                value=event.payload,
                key=event.key,
                headers=list(event.headers),
            )
            for event in events
        ]
        producer.flush(timeout=self._settings.request_timeout_seconds * 3)
        for future in pending:
            future.get(timeout=self._settings.request_timeout_seconds)

    def _connected(self) -> Any:
        from kafka import KafkaProducer

        if self._producer is None:
            batching = {"batch_size": 0, "linger_ms": 0} if self._settings.unbatched else {}
            self._producer = KafkaProducer(
                **self._options(),
                acks="all",
                retries=5,
                max_block_ms=int(self._settings.request_timeout_seconds * 1000),
                delivery_timeout_ms=int(self._settings.request_timeout_seconds * 3000),
                allow_auto_create_topics=False,
                **batching,
                **({"enable_idempotence": False} if self._settings.unbatched else {}),
            )
        return self._producer
