"""How many keys go into one run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from media_pipeline.even_parts import cut, even_size
from media_pipeline.settings import BatchSettings

Key = TypeVar("Key")


def batch_size(keys: int, seconds_per_asset: float, settings: BatchSettings) -> int:
    """Keys per run for `keys` waiting ones, each taking about `seconds_per_asset`.

    A small backlog goes at once: waiting would only add latency. A large one is cut so that a
    run takes about `target_run_seconds`, between `min_keys` and `max_keys`, and evenly: three
    runs of 134 end sooner than 200 + 200 + 2.
    """
    if keys <= settings.min_keys:
        return max(1, keys)
    wanted = int(settings.target_run_seconds / max(seconds_per_asset, 1e-6))
    largest = min(settings.max_keys, max(settings.min_keys, wanted))
    return even_size(keys, largest)


def batches(
    keys: Sequence[Key], seconds_per_asset: float, settings: BatchSettings
) -> list[Sequence[Key]]:
    """`keys` cut into contiguous batches, order kept."""
    return cut(keys, batch_size(len(keys), seconds_per_asset, settings))
