"""Which asset partitions to look at, and which of them may go. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from media_pipeline.settings import RetirementSettings


@dataclass(frozen=True, slots=True)
class Page:
    """Keys that one tick looks at, oldest first.

    `crowded` are older than the newest `keep_keys`: they go soon after they are done. `others`
    are within that count and go by age alone. `last`: nothing follows.
    """

    crowded: Sequence[str]
    others: Sequence[str]
    last: bool

    @property
    def keys(self) -> list[str]:
        return [*self.crowded, *self.others]


def page_of(known: Sequence[str], after: str | None, settings: RetirementSettings) -> Page:
    """The next keys after `after` (from the oldest on, when it is not known any more)."""
    excess = max(0, len(known) - settings.keep_keys)
    start = 0
    if after is not None:
        try:
            start = known.index(after) + 1
        except ValueError:
            start = 0
    end = start + settings.max_keys_per_tick
    return Page(
        crowded=known[start : min(end, excess)],
        others=known[max(start, excess) : end],
        last=end >= len(known),
    )


def busy_keys(known: Sequence[str], ranges: Iterable[tuple[str, str]]) -> set[str]:
    """All keys between the ends of ranges: a range means what lies between them in `known`,
    so none of it may go while a run needs it."""
    position = {key: number for number, key in enumerate(known)}
    busy: set[str] = set()
    for first, last in ranges:
        if first in position and last in position:
            busy.update(known[position[first] : position[last] + 1])
    return busy


def removable(done: Iterable[str], busy: Collection[str]) -> list[str]:
    """Keys that are done and that no run needs."""
    return [key for key in done if key not in busy]
