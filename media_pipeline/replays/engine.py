"""Doing a replay: portions, each noted in the ledger before its backfill is launched.

Whatever dies in between, the same replay goes on: what was noted and not launched is launched,
what was not noted is read again. The order within a portion is: dead letters of invalid
messages, then registration and memory in one transaction, then Dagster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from media_pipeline.domain.ports import Arrival, MetadataStore
from media_pipeline.domain.replays import Portion, Replay, ReplayStore, Version
from media_pipeline.replays.steps import Step

#: A resumed replay reads again what lies between two notes: no more than this many steps.
_MAX_STEPS = 40


class Launcher(Protocol):
    """Dagster, as a replay needs it."""

    def add_partitions(self, keys: Sequence[str]) -> None:
        """Make these asset partitions known; known ones stay as they are."""
        ...

    def launched_before(self, replay_id: str, number: int) -> str | None:
        """The backfill of that portion, if one was launched whose note was lost."""
        ...

    def launch(self, replay_id: str, number: int, keys: Sequence[str]) -> str:
        """Launch the backfill of a portion; answers its id."""
        ...


@dataclass
class _Buffer:
    """Steps that make a portion together."""

    place: Mapping[str, Any]
    steps: int = 0
    arrivals: list[Arrival] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)
    assets: set[str] = field(default_factory=set)

    def add(self, step: Step) -> None:
        self.place = step.place
        self.steps += 1
        self.arrivals += step.arrivals
        self.versions += step.versions
        self.assets |= step.assets


@dataclass
class Engine:
    """One replay under way. `before_each` is called before every portion (lease, progress);
    `stopped` ends it after the portion under way."""

    store: ReplayStore
    ledger: MetadataStore
    launcher: Launcher
    pipeline_version: str
    portion_size: int = 1000
    before_each: Callable[[Mapping[str, int]], None] = lambda _: None
    stopped: Callable[[], bool] = lambda: False

    def relaunch(self, replay: Replay) -> int:
        """Launch what an earlier try noted and did not launch; answers how many backfills."""
        lost = [number for number, known in replay.backfills.items() if known is None]
        for number in lost:
            keys = self.store.assets_of(replay.replay_id, number)
            self._launch(replay.replay_id, number, keys)
        return len(lost)

    def run(self, replay: Replay, steps: Iterator[Step]) -> bool:
        """All steps from the replay's place on; False when it was stopped before the end."""
        counts, number = Counter(replay.counts), replay.portions
        buffer = _Buffer(replay.place)
        for step in steps:
            full = len(buffer.versions) + len(step.versions) > self.portion_size
            if full or buffer.assets & step.assets or buffer.steps >= _MAX_STEPS:
                number += self._flush(replay.replay_id, number, buffer, counts, complete=False)
                buffer = _Buffer(buffer.place)
                if self.stopped():
                    return False
            if step.rejected:
                counts["rejected_new"] += self.ledger.reject(step.rejected, self.pipeline_version)
            counts.update(step.counts)
            buffer.add(step)
        self._flush(replay.replay_id, number, buffer, counts, complete=True)
        return True

    def _flush(
        self, replay_id: str, number: int, buffer: _Buffer, counts: Counter[str], *, complete: bool
    ) -> int:
        """Note and launch; answers how many portion numbers were used."""
        self.before_each(counts)
        portion = Portion(
            number, buffer.place, dict(counts), buffer.arrivals, buffer.versions, complete
        )
        keys = self.store.note(replay_id, portion)
        if not buffer.versions:
            return 0
        self._launch(replay_id, number, keys)
        return 1

    def _launch(self, replay_id: str, number: int, keys: Sequence[str]) -> None:
        if not keys:  # every version of it was in an earlier portion
            self.store.launched(replay_id, number, "none")
            return
        backfill = self.launcher.launched_before(replay_id, number)
        if backfill is None:
            self.launcher.add_partitions(keys)
            backfill = self.launcher.launch(replay_id, number, keys)
        self.store.launched(replay_id, number, backfill)
