"""Which asset partitions to look at, and which of them may go. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True, slots=True)
class Place:
    """The sensor's cursor: how far the present round over all keys, oldest first, has come.

    `after`: Dagster's own cursor behind the last page, None at the beginning of a round.
    `boundary`: the oldest of the newest `keep_keys` keys as the round began; None: there are no
    more than that, or it is behind us, so that no key to come is one too many.
    """

    after: str | None = None
    boundary: str | None = None

    @classmethod
    def loads(cls, text: str | None) -> Place:
        """Read a persisted cursor; one that cannot be read begins a round."""
        try:
            return cls(**json.loads(text or "{}"))
        except (ValueError, TypeError):
            return cls()

    def dumps(self) -> str:
        """The inverse of `loads`."""
        return json.dumps(asdict(self))

    def split(self, keys: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """Keys of the next page: those older than the newest `keep_keys`, which go soon after they
        are done, and those within that count, which go by age alone."""
        if self.boundary is None:
            return [], keys
        at = keys.index(self.boundary) if self.boundary in keys else len(keys)
        return keys[:at], keys[at:]

    def behind(self, keys: Sequence[str], cursor: str) -> Place:
        """The place after that page; `cursor` is Dagster's."""
        boundary = None if self.boundary in keys else self.boundary
        return replace(self, after=cursor, boundary=boundary)


@dataclass(frozen=True, slots=True)
class Range:
    """What a range run works on: all between two keys. `size`: how many keys, None: not told."""

    first: str
    last: str
    size: int | None = None


def decided_by(page: Sequence[str], ranges: Iterable[Range]) -> bool:
    """Whether `page` alone tells which of its keys lie in the ranges.

    A range with neither end in it has nothing of it, unless it has all of it.
    """
    known = set(page)
    return all(
        one.first in known or one.last in known or (one.size is not None and one.size <= len(page))
        for one in ranges
    )


def busy_keys(known: Sequence[str], ranges: Iterable[Range]) -> set[str]:
    """All keys between the ends of ranges: a range means what lies between them, so none of it
    may go while a run needs it. `known`: all keys in order, or a page that decides. An end that
    lies outside is taken to lie beyond: what is between must stay."""
    position = {key: number for number, key in enumerate(known)}
    busy: set[str] = set()
    for one in ranges:
        if one.first in position or one.last in position:
            first = position.get(one.first, 0)
            last = position.get(one.last, len(known) - 1)
            busy.update(known[first : last + 1])
    return busy


def removable(done: Iterable[str], busy: Collection[str]) -> list[str]:
    """Keys that are done and that no run needs."""
    return [key for key in done if key not in busy]
