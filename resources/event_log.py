"""The event log (Kafka protocol), read by explicit offsets.

Written for brokers as they are: lag comes from the high watermarks of fetches (one broker
answers ListOffsets(latest) wrongly for batched records), and positions are checked against
the beginning by hand (another raises nothing for an offset that retention has overtaken).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.ports import CredentialSource, Poll, Span
from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.settings import KafkaSettings
from resources.event_log_client import KafkaConnection

_POLL_SECONDS = 0.25
_MAX_PARTITION_BYTES = 4 * 1024 * 1024


class KafkaEventSource(KafkaConnection):
    """`EventSource` on kafka-python; one consumer is kept between polls of the same topic."""

    def __init__(
        self,
        settings: KafkaSettings,
        credentials: CredentialSource,
        *,
        max_partition_bytes: int = _MAX_PARTITION_BYTES,
    ) -> None:
        super().__init__(settings, credentials)
        self._max_partition_bytes = max_partition_bytes
        self._consumer: Any = None

    def poll(
        self,
        topic: str,
        positions: Mapping[int, int],
        *,
        max_records: int,
        deadline_seconds: float,
    ) -> Poll:
        """See `EventSource.poll`; a broken consumer is dropped and made anew next time."""
        deadline = time.monotonic() + deadline_seconds

        def read() -> Poll:
            start = self._assign(self._connected(), topic, positions)
            return self._poll(topic, start, max_records, deadline, {})

        return self._talk(f"reading {topic}", read)

    def spans(self, topic: str) -> Mapping[int, Span]:
        """See `EventSource.spans`."""
        return self._talk(f"asking for the offsets of {topic}", lambda: self._spans(topic))

    def offsets_at(self, topic: str, timestamp_ms: int) -> Mapping[int, int]:
        """See `EventSource.offsets_at`."""

        def look() -> tuple[Mapping[int, Span], dict[Any, Any]]:
            spans = self._spans(topic)
            asked = {_topic_partition(topic, number): timestamp_ms for number in spans}
            return spans, self._connected().offsets_for_times(asked)

        spans, found = self._talk(f"looking for a time in {topic}", look)
        offsets = {one.partition: answer.offset for one, answer in found.items() if answer}
        return {
            number: min(max(offsets.get(number, span.end), span.first), span.end)
            for number, span in spans.items()
        }

    def read(
        self,
        topic: str,
        spans: Mapping[int, Span],
        *,
        max_records: int,
        deadline_seconds: float,
    ) -> Poll:
        """See `EventSource.read`."""
        deadline = time.monotonic() + deadline_seconds
        wanted = {number: span for number, span in spans.items() if span.size}
        done = {number: span.first for number, span in spans.items() if not span.size}
        if not wanted:
            return Poll((), done, {})

        def read() -> Poll:
            positions = {number: span.first for number, span in wanted.items()}
            start = self._assign(self._connected(), topic, positions, only=True)
            ends = {number: span.end for number, span in wanted.items()}
            return self._poll(topic, start, max_records, deadline, ends)

        poll = self._talk(f"reading {topic}", read)
        return Poll(poll.records, {**poll.positions, **done}, poll.high_watermarks)

    def commit(self, topic: str, positions: Mapping[int, int]) -> None:
        """Mirror positions as the group's offsets; TransientError when the broker is away."""
        from kafka import OffsetAndMetadata, TopicPartition

        offsets = {
            TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1)
            for partition, offset in positions.items()
        }
        self._talk("committing offsets", lambda: self._connected().commit(offsets))

    def committed(self, topic: str) -> dict[int, int]:
        """The group's offsets; TransientError when the broker is away."""

        def ask() -> dict[int, int | None]:
            consumer = self._connected()
            return {
                number: consumer.committed(_topic_partition(topic, number))
                for number in sorted(consumer.partitions_for_topic(topic) or ())
            }

        found = self._talk("asking for committed offsets", ask)
        return {number: offset for number, offset in found.items() if offset is not None}

    def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close(autocommit=False)

    def _connected(self) -> Any:
        from kafka import KafkaConsumer

        if self._consumer is None:
            self._consumer = KafkaConsumer(
                **self._options(),
                group_id=self._settings.group_id,
                enable_auto_commit=False,
                auto_offset_reset="none",
                allow_auto_create_topics=False,
                isolation_level="read_committed",
                max_partition_fetch_bytes=self._max_partition_bytes,
                fetch_max_wait_ms=100,
                # Every poll assigns anew, and one broker forgets what left its fetch session.
                enable_incremental_fetch_sessions=False,
            )
        return self._consumer

    def _poll(
        self,
        topic: str,
        start: Mapping[int, int],
        max_records: int,
        deadline: float,
        ends: Mapping[int, int],
    ) -> Poll:
        """From assigned positions on; Kafka partitions of `ends` no further than there."""
        consumer = self._connected()
        reached = dict(start)
        records: list[MessageRecord] = []
        waiting = set(start)
        while waiting and len(records) < max_records and time.monotonic() < deadline:
            budget = min(_POLL_SECONDS, max(0.0, deadline - time.monotonic()))
            fetched = consumer.poll(
                timeout_ms=int(budget * 1000), max_records=max_records - len(records)
            )
            for batch in fetched.values():
                for record in batch:
                    end = ends.get(record.partition)
                    if end is None or record.offset < end:
                        records.append(_record(record))
                    reached[record.partition] = record.offset + 1
            highs = self._high_watermarks(consumer)
            for partition in list(waiting):
                high, end = highs.get(partition), ends.get(partition)
                if end is not None and reached[partition] >= end:
                    waiting.discard(partition)
                    consumer.pause(_topic_partition(topic, partition))
                elif high is not None and reached[partition] >= high:
                    waiting.discard(partition)
        for partition, offset in list(reached.items()):
            # Past control records and compacted gaps, which never arrive as records.
            position = consumer.position(_topic_partition(topic, partition))
            far = max(offset, position or 0)
            reached[partition] = min(far, ends.get(partition, far))
        marks = self._high_watermarks(consumer)
        if len(marks) < len(reached):
            marks |= self._learn_high_watermarks(consumer, topic, marks, reached, deadline)
        return Poll(tuple(records), reached, marks)

    def _spans(self, topic: str) -> dict[int, Span]:
        consumer = self._connected()
        start = self._assign(consumer, topic, {})
        # Near the end, so that the fetch that tells the high watermark carries little.
        asked = [_topic_partition(topic, number) for number in start]
        ends = {one.partition: end for one, end in consumer.end_offsets(asked).items()}
        deadline = time.monotonic() + self._settings.request_timeout_seconds
        marks = self._learn_high_watermarks(consumer, topic, {}, {**start, **ends}, deadline)
        if len(marks) < len(start):
            raise TransientError(
                f"{topic}: {len(start) - len(marks)} of {len(start)} Kafka partitions did not"
                " tell their end.",
                remedy="check that every Kafka partition has a leader; it is tried again.",
                code="event_log_unavailable",
            )
        return {number: Span(first, marks[number]) for number, first in sorted(start.items())}

    def _learn_high_watermarks(
        self,
        consumer: Any,
        topic: str,
        known: Mapping[int, int],
        positions: Mapping[int, int],
        deadline: float,
    ) -> dict[int, int]:
        """Ask Kafka partitions that have not answered yet: without their high watermark the lag
        would be told too small. What they send is read again by the next poll."""
        asked = [_topic_partition(topic, one) for one in positions if one not in known]
        consumer.assign(asked)
        for one in asked:
            consumer.seek(one, positions[one.partition])
        while time.monotonic() < deadline:
            marks = self._high_watermarks(consumer)
            if len(marks) == len(asked):
                return marks
            consumer.poll(timeout_ms=int(_POLL_SECONDS * 1000))
        return self._high_watermarks(consumer)

    def _assign(
        self, consumer: Any, topic: str, positions: Mapping[int, int], *, only: bool = False
    ) -> dict[int, int]:
        """Assign every Kafka partition of the topic, or `only` those of `positions`, and seek;
        answers the start offsets."""
        partitions = consumer.partitions_for_topic(topic)
        if not partitions:
            raise SystemicError(
                f"the topic {topic} does not exist or may not be read.",
                remedy="create the topic or grant read on it.",
                code="topic_missing",
            )
        unknown = sorted(set(positions) - set(partitions)) if only else []
        if unknown:
            raise SystemicError(
                f"{topic} has no Kafka partition {unknown[0]}; there are {len(partitions)}.",
                remedy="name one that exists.",
                code="kafka_partition_missing",
            )
        numbers = sorted(positions) if only else sorted(partitions)
        assigned = [_topic_partition(topic, number) for number in numbers]
        # What was asked for before this poll must not answer it: a partition that stays assigned
        # keeps its old high watermark, and a fetch on its way brings an old one. Offsets come
        # after it on the same connection, and fetched data of unassigned partitions is dropped.
        consumer.unsubscribe()
        beginnings = consumer.beginning_offsets(assigned)
        consumer.poll(timeout_ms=0)
        consumer.assign(assigned)
        start = {}
        for one in assigned:
            beginning = beginnings[one]
            wanted = positions.get(one.partition, beginning)
            if wanted < beginning:
                raise SystemicError(
                    f"{topic}/{one.partition}: offset {wanted} is gone, retention has moved the"
                    f" beginning to {beginning}; {beginning - wanted} messages were not read.",
                    remedy="recover them from the producers or from object listings, then reset"
                    f" the sensor's cursor of this Kafka partition to {beginning}.",
                    code="offset_out_of_range",
                )
            consumer.seek(one, wanted)
            start[one.partition] = wanted
        return start

    @staticmethod
    def _high_watermarks(consumer: Any) -> dict[int, int]:
        marks = {one.partition: consumer.highwater(one) for one in consumer.assignment()}
        return {partition: mark for partition, mark in marks.items() if mark is not None}


def _topic_partition(topic: str, partition: int) -> Any:
    from kafka import TopicPartition

    return TopicPartition(topic, partition)


def _record(record: Any) -> MessageRecord:
    return MessageRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=tuple((name, bytes(value or b"")) for name, value in record.headers),
    )
