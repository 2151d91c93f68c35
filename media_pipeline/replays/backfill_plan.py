"""Which Dagster backfills work on a set of media assets in as few runs as they need. Pure.

Dagster cuts a backfill into one run per contiguous range of asset partitions, in insertion
order. That is right for what arrived together; of a thousand media assets scattered over a
hundred thousand it would make a thousand runs. Scattered ones are therefore gathered in sets: the
backfill is of each set's first key, its anchor, and the run config says what goes with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from media_pipeline.even_parts import cut, even_size

#: Sets stand in the run config of every run of their backfill: no more media assets than this.
MOST_IN_SETS = 2000


@dataclass(frozen=True, slots=True)
class PlannedBackfill:
    """`keys`: the media assets it works on. `sets`: the same in sets, the anchor of each first;
    none where Dagster's own ranges do."""

    keys: tuple[str, ...]
    sets: tuple[tuple[str, ...], ...] = ()

    @property
    def partition_keys(self) -> list[str]:
        """What Dagster is asked to backfill."""
        return [one[0] for one in self.sets] if self.sets else list(self.keys)


def plan_backfills(
    keys: Sequence[str], order: Sequence[str], max_keys: int, most_in_sets: int = MOST_IN_SETS
) -> list[PlannedBackfill]:
    """Backfills of `keys`, each once, in runs of at most `max_keys`.

    `order`: all asset partitions in insertion order. Keys that are not among them come last, as
    they will once they are added.
    """
    place = {key: number for number, key in enumerate(order)}
    wanted = list(dict.fromkeys(keys))
    places = {key: place.get(key, len(order) + number) for number, key in enumerate(wanted)}
    ordered = sorted(wanted, key=places.__getitem__)
    if _runs([places[key] for key in ordered], max_keys) <= 2 * math.ceil(len(ordered) / max_keys):
        return [PlannedBackfill(tuple(ordered))] if ordered else []
    return [
        PlannedBackfill(
            tuple(part), tuple(tuple(one) for one in cut(part, even_size(len(part), max_keys)))
        )
        for part in cut(ordered, even_size(len(ordered), max(most_in_sets, max_keys)))
    ]


def _runs(places: Sequence[int], max_keys: int) -> int:
    """How many runs Dagster makes of these, ascending."""
    runs = length = 0
    for number, place in enumerate(places):
        follows = number > 0 and place == places[number - 1] + 1
        length = length + 1 if follows else 1
        runs += (length - 1) % max_keys == 0
    return runs
