"""What the sources of figures answer: plain values, one type per source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from media_pipeline.domain.ports import EventSource
from media_pipeline.errors import SystemicError

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LedgerFigures:
    """The answer of the ledger's function `metrics()`: see deploy/postgres/migrations/0050.

    Rows: `processors` {processor, outcome, count, seconds}, `durations` {processor, le, count}
    and `buckets` {figure, le, count} cumulative, `totals` {figure, label, value},
    `dead_letters` {stage, code, count}. Ages in seconds; None or a missing lane: nothing waits.
    """

    processors: Sequence[Row] = ()
    durations: Sequence[Row] = ()
    statuses: Mapping[str, int] = field(default_factory=dict)
    totals: Sequence[Row] = ()
    buckets: Sequence[Row] = ()
    oldest_unfinished: Mapping[str, float] = field(default_factory=dict)
    outbox_rows: int = 0
    outbox_oldest: float | None = None
    dead_letters: Sequence[Row] = ()


class FigureStore(Protocol):
    """The ledger's figures."""

    def figures(self) -> LedgerFigures:
        """All of them, from one moment; answers in bounded time however large the ledger is."""
        ...


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """Slots of one pool."""

    slots: int
    used: int
    waiting: int


@dataclass(frozen=True, slots=True)
class OrchestratorFigures:
    """What Dagster's storage knows. Ages in seconds; `cursors`: sensor -> persisted cursor.

    Of running sensors: `failed_ticks` in a row up to now, 0 after one that ended well;
    `success_ages` since the last of those began, or since the sensor was started.
    """

    runs: Mapping[str, int]
    pools: Mapping[str, PoolFigures]
    heartbeat_ages: Mapping[str, float]
    tick_ages: Mapping[str, float]
    cursors: Mapping[str, str | None]
    failed_ticks: Mapping[str, int] = field(default_factory=dict)
    success_ages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeviceFigures:
    """One GPU; ratios 0..1."""

    utilization: float
    memory: float


@dataclass(frozen=True, slots=True)
class EventLogFigures:
    """One topic: offset after the last record, and the consumer group's next offset (the
    beginning where it has none), per Kafka partition that answered in time."""

    topic: str
    high_watermarks: Mapping[int, int]
    positions: Mapping[int, int]

    def lag(self, cursor: Mapping[int, int]) -> dict[int, int]:
        """Messages that wait per Kafka partition. `cursor`: the sensor's own next offsets, which
        are the truth; without it the group's, which are one tick behind."""
        return {
            partition: max(0, high - cursor.get(partition, self.positions[partition]))
            for partition, high in sorted(self.high_watermarks.items())
        }


def read_event_log(source: EventSource, topic: str, deadline_seconds: float) -> EventLogFigures:
    """Fetches one record at most; raises what `EventSource` raises, except for a position that
    retention has overtaken: what is left is still counted."""
    positions = source.committed(topic)
    try:
        poll = source.poll(topic, positions, max_records=1, deadline_seconds=deadline_seconds)
    except SystemicError as error:
        if error.code != "offset_out_of_range":
            raise
        positions = {}
        poll = source.poll(topic, {}, max_records=1, deadline_seconds=deadline_seconds)
    read = Counter(record.partition for record in poll.records)
    starts = {one: reached - read[one] for one, reached in poll.positions.items()}
    return EventLogFigures(topic, poll.high_watermarks, {**starts, **positions})
