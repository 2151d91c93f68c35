"""A broker in memory: several Kafka partitions, retention, group offsets."""

import zlib

from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.ports import OutgoingEvent, Poll
from media_pipeline.errors import SystemicError, TransientError


class FakeEventLog:
    """`EventSource` and `EventSink` in one."""

    def __init__(self, **topics: int) -> None:
        self.topics: dict[str, list[list[MessageRecord]]] = {}
        self.beginnings: dict[tuple[str, int], int] = {}
        self.committed: dict[str, dict[int, int]] = {}
        self.refuse_commits = False
        for topic, partitions in topics.items():
            self.create(topic, partitions)

    def create(self, topic: str, partitions: int) -> None:
        self.topics[topic] = [[] for _ in range(partitions)]

    def publish(self, events: list[OutgoingEvent]) -> None:
        for event in events:
            logs = self._logs(event.topic)
            number = zlib.crc32(event.key or b"") % len(logs)
            self.append(event.topic, number, event.key, event.payload, event.headers)

    def append(self, topic, partition, key, value, headers=()) -> MessageRecord:
        log = self._logs(topic)[partition]
        record = MessageRecord(topic, partition, len(log), 1_000, key, value, tuple(headers))
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
            if position < beginning:
                raise SystemicError(
                    f"{topic}/{number}: {position} is gone, beginning is {beginning}",
                    remedy="reset the cursor",
                    code="offset_out_of_range",
                )
            taken = log[position : position + max_records - len(records)]
            records += taken
            reached[number] = position + len(taken)
            highs[number] = len(log)
        return Poll(tuple(records), reached, highs)

    def commit(self, topic: str, positions: dict[int, int]) -> None:
        if self.refuse_commits:
            raise TransientError("no coordinator", remedy="wait")
        self.committed[topic] = dict(positions)

    def close(self) -> None: ...

    def _logs(self, topic: str) -> list[list[MessageRecord]]:
        if topic not in self.topics:
            raise SystemicError(f"no topic {topic}", remedy="make it", code="topic_missing")
        return self.topics[topic]
