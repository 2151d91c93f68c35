"""How the ticks of sensors end: read from Dagster's storage, which has no hook for it.

Read by the exporter and by `run_failures_sensor`. Ticks are not part of Dagster's public
interface; tests/unit/test_sensor_ticks.py guards what is used of the pinned version.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick, TickStatus

#: Intervals without a tick after which a sensor counts as gone.
_GONE = 10


@dataclass(frozen=True, slots=True)
class SensorTicks:
    """Of one running sensor. `failed`: ticks in a row up to now.

    `good_at`: when the last tick that ended well began, or else when the sensor was started,
    seconds since the epoch; None where Dagster knows neither. `error`: Dagster's
    `SerializableErrorInfo` of the newest tick if it failed.
    """

    name: str
    failed: int
    good_at: float | None
    error: Any = None


def running_sensors(instance: DagsterInstance) -> Iterator[SensorTicks]:
    """Every running sensor that ticks: one look at storage, two for one that fails.

    One that has not ticked for long is left out: the daemon is down, or the code has no such
    sensor any more while Dagster still calls it running.
    """
    from dagster._core.scheduler.instigation import (
        InstigatorType,
        SensorInstigatorData,
        TickStatus,
    )

    now = time.time()
    well = [TickStatus.SUCCESS, TickStatus.SKIPPED]
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        data = state.instigator_data
        if not state.is_running or not isinstance(data, SensorInstigatorData):
            continue
        last = _newest(instance, state, [*well, TickStatus.FAILURE])
        if last is None or now - last.timestamp > _GONE * max(60, data.min_interval or 0):
            continue
        if not last.is_failure:
            yield SensorTicks(state.instigator_name, 0, last.timestamp)
            continue
        good = _newest(instance, state, well)
        since = good.timestamp if good else data.last_sensor_start_timestamp
        failed = max(1, last.consecutive_failure_count)
        yield SensorTicks(state.instigator_name, failed, since, last.error)


def _newest(
    instance: DagsterInstance, state: InstigatorState, statuses: list[TickStatus]
) -> InstigatorTick | None:
    ticks = instance.get_ticks(
        state.instigator_origin_id, state.selector_id, limit=1, statuses=statuses
    )
    return ticks[0] if ticks else None
