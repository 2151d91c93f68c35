"""A broker in memory: several Kafka partitions, retention, group offsets."""

import time
import zlib

from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.ports import OutgoingEvent, Poll, Span
from media_pipeline.errors import SystemicError, TransientError


class FakeEventLog:
    """`EventSource` and `EventSink` in one."""

    def __init__(self, **topics: int) -> None:
        self.topics: dict[str, list[list[MessageRecord]]] = {}
        self.beginnings: dict[tuple[str, int], int] = {}
        self.group_offsets: dict[str, dict[int, int]] = {}
        self.refuse_commits = False
        self.clock_ms = lambda: time.time_ns() // 1_000_000
        for topic, partitions in topics.items():
            self.create(topic, partitions)

    def create(self, topic: str, partitions: int) -> None:
        self.topics[topic] = [[] for _ in range(partitions)]

    def publish(self, events: list[OutgoingEvent]) -> None:
        for event in events:
            logs = self._logs(event.topic)
            number = zlib.crc32(event.key or b"") % len(logs)
            self.append(event.topic, number, event.key, event.payload, event.headers)

    def append(self, topic, partition, key, value, headers=(), timestamp_ms=None) -> MessageRecord:
        log = self._logs(topic)[partition]
        at = self.clock_ms() if timestamp_ms is None else timestamp_ms
        record = MessageRecord(topic, partition, len(log), at, key, value, tuple(headers))
        log.append(record)
        return record

    def expire(self, topic: str, partition: int, before: int) -> None:
        """Retention: records below `before` are gone."""
        self.beginnings[topic, partition] = before

    def poll(self, topic, positions, *, max_records, deadline_seconds) -> Poll:
        reached, records, highs = {}, [], {}
        for number, log in enumerate(self._logs(topic)):
            beginning = self.beginnings.get((topic, number), 0)
            position = positions.get(number, beginning)
            self._require_kept(topic, number, position)
            taken = log[position : position + max_records - len(records)]
            records += taken
            reached[number] = position + len(taken)
            highs[number] = len(log)
        return Poll(tuple(records), reached, highs)

    def spans(self, topic) -> dict[int, Span]:
        return {
            number: Span(self.beginnings.get((topic, number), 0), len(log))
            for number, log in enumerate(self._logs(topic))
        }

    def offsets_at(self, topic, timestamp_ms) -> dict[int, int]:
        return {
            number: next(
                (
                    record.offset
                    for record in self._logs(topic)[number][span.first :]
                    if record.timestamp_ms >= timestamp_ms
                ),
                span.end,
            )
            for number, span in self.spans(topic).items()
        }

    def read(self, topic, spans, *, max_records, deadline_seconds) -> Poll:
        logs, reached, records, highs = self._logs(topic), {}, [], {}
        for number, span in spans.items():
            if number >= len(logs):
                raise SystemicError(
                    f"{topic} has no Kafka partition {number}", remedy="-",
                    code="kafka_partition_missing",
                )  # fmt: skip
            self._require_kept(topic, number, span.first)
            until = min(span.end, span.first + max_records - len(records))
            taken = logs[number][span.first : until]
            records += taken
            reached[number], highs[number] = span.first + len(taken), len(logs[number])
        return Poll(tuple(records), reached, highs)

    def commit(self, topic: str, positions: dict[int, int]) -> None:
        if self.refuse_commits:
            raise TransientError("no coordinator", remedy="wait")
        self.group_offsets[topic] = dict(positions)

    def committed(self, topic: str) -> dict[int, int]:
        return dict(self.group_offsets.get(topic, {}))

    def close(self) -> None: ...

    def _logs(self, topic: str) -> list[list[MessageRecord]]:
        if topic not in self.topics:
            raise SystemicError(f"no topic {topic}", remedy="make it", code="topic_missing")
        return self.topics[topic]

    def _require_kept(self, topic: str, number: int, position: int) -> None:
        beginning = self.beginnings.get((topic, number), 0)
        if position < beginning:
            raise SystemicError(
                f"{topic}/{number}: {position} is gone, beginning is {beginning}",
                remedy="reset the cursor",
                code="offset_out_of_range",
            )
