"""Sensors in a Dagster instance and how their ticks ended, as the daemon writes it."""

import dagster as dg
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._utils.error import serializable_error_info_from_exc_info


class SensorStory:
    """One sensor; `started`: seconds since the epoch."""

    def __init__(
        self, instance: dg.DagsterInstance, name: str, *, started: float, running: bool = True
    ) -> None:
        self._instance, self._name, self._failed = instance, name, 0
        location = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("media"), "__repository__")
        origin = RemoteInstigatorOrigin(location, name)
        self._ids = (origin.get_id(), origin.get_selector().get_id())
        instance.add_instigator_state(
            InstigatorState(
                origin,
                InstigatorType.SENSOR,
                InstigatorStatus.RUNNING if running else InstigatorStatus.STOPPED,
                SensorInstigatorData(min_interval=30, last_sensor_start_timestamp=started),
            )
        )

    def tick(self, at: float, error: Exception | None = None) -> None:
        """A tick that began then; it skipped, or failed with that error."""
        self._failed = self._failed + 1 if error else 0
        info = None
        if error:
            try:
                raise error
            except type(error) as raised:
                info = serializable_error_info_from_exc_info(
                    (type(raised), raised, raised.__traceback__)
                )
        self._instance.create_tick(
            TickData(
                instigator_origin_id=self._ids[0],
                instigator_name=self._name,
                instigator_type=InstigatorType.SENSOR,
                status=TickStatus.FAILURE if error else TickStatus.SKIPPED,
                timestamp=at,
                selector_id=self._ids[1],
                error=info,
                consecutive_failure_count=self._failed,
            )
        )
