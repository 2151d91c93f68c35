"""How many slots each workload's pool gets: backlog in seconds of work, floor, ceiling. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from media_pipeline.settings import ScalingSettings


@dataclass(frozen=True, slots=True)
class Target:
    """What a workload's pool should have, and why."""

    workload: str
    waiting: int
    seconds_per_asset: float
    slots: int
    bound: str

    @property
    def work_seconds(self) -> float:
        """Estimated seconds of work that wait, on one worker."""
        return self.waiting * self.seconds_per_asset

    def __str__(self) -> str:
        why = f", {self.bound}" if self.bound else ""
        return (
            f"{self.workload}: {self.waiting} waiting x {self.seconds_per_asset:.3g} s ="
            f" {self.work_seconds:.0f} s of work -> {self.slots} slots{why}"
        )


def plan_slots(
    waiting: Mapping[str, int],
    seconds_per_asset: Mapping[str, float],
    settings: ScalingSettings,
) -> list[Target]:
    """One target per workload of `waiting` (media assets that wait for it).

    A slot is a run, and works off `workers_per_run` seconds of work each second.
    """
    return [
        _target(workload, count, seconds_per_asset.get(workload), settings)
        for workload, count in waiting.items()
    ]


def _target(
    workload: str, waiting: int, seconds: float | None, settings: ScalingSettings
) -> Target:
    known = settings.assumed_seconds if seconds is None else seconds
    per_slot = settings.drain_seconds * settings.workers_per_run
    wanted = math.ceil(waiting * known / per_slot)
    # 0 slots would stop a workload for good: that is what pausing is for.
    floor = max(1, settings.floor.get(workload, 1))
    ceiling = max(floor, settings.ceiling.get(workload, floor))
    slots = min(max(wanted, floor), ceiling)
    bound = ""
    if wanted > ceiling:
        bound = f"its ceiling ({wanted} wanted)"
    elif wanted < floor:
        bound = "its floor"
    return Target(workload, waiting, known, slots, bound)
