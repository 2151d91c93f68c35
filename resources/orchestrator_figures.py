"""Figures from Dagster's own storage, read in place: no webserver is asked.

`DagsterInstance` publishes runs, heartbeats and sensor states; pools come from its event log
storage, which tests/integration/test_exporter.py guards against the pinned version.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from media_pipeline.sensor_ticks import running_sensors
from media_pipeline.telemetry.figures import OrchestratorFigures, PoolFigures

if TYPE_CHECKING:
    from dagster import DagsterInstance

_STATUSES = ("QUEUED", "STARTING", "STARTED", "SUCCESS", "FAILURE", "CANCELING", "CANCELED")


def read_orchestrator(instance: DagsterInstance) -> OrchestratorFigures:
    """All figures of one Dagster instance; raises what its storage raises."""
    from dagster import DagsterRunStatus, RunsFilter

    now = time.time()
    runs = {
        name.lower(): instance.get_runs_count(RunsFilter(statuses=[DagsterRunStatus(name)]))
        for name in _STATUSES
    }
    heartbeats = {
        name.lower(): max(0.0, now - status.last_heartbeat.timestamp)
        for name, status in instance.get_daemon_statuses().items()
        if status.last_heartbeat
    }
    tick_ages, cursors = _sensors(instance, now)
    ticks = list(running_sensors(instance))
    return OrchestratorFigures(
        runs,
        _pools(instance),
        heartbeats,
        tick_ages,
        cursors,
        failed_ticks={one.name: one.failed for one in ticks},
        success_ages={
            one.name: max(0.0, now - one.good_at) for one in ticks if one.good_at is not None
        },
    )


def _pools(instance: DagsterInstance) -> dict[str, PoolFigures]:
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return {}
    names = [one.name for one in storage.get_pool_limits()]
    if not names:
        return {}
    return {
        name: PoolFigures(info.slot_count, len(info.claimed_slots), len(info.pending_steps))
        for name, info in storage.get_concurrency_infos(names).items()
    }


def _sensors(
    instance: DagsterInstance, now: float
) -> tuple[dict[str, float], dict[str, str | None]]:
    from dagster._core.scheduler.instigation import InstigatorType, SensorInstigatorData

    ages: dict[str, float] = {}
    cursors: dict[str, str | None] = {}
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        data = state.instigator_data
        if not isinstance(data, SensorInstigatorData):
            continue
        cursors[state.instigator_name] = data.cursor
        if data.last_tick_timestamp and state.is_running:
            ages[state.instigator_name] = max(0.0, now - data.last_tick_timestamp)
    return ages, cursors
