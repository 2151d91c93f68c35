"""`run_failures_sensor`: on-call hears of failed runs and of failing sensors, by cause.

A tick reads the run failures since its cursor in order and how the ticks of sensors end, finds
each one's cause, groups them and sends what was not told lately. What a receiver did not take
stays in the cursor for the next tick, so one that is down holds up no other. Never a dead letter
from here: a run that Dagster took for dead may still be working. That this sensor itself fails is
told by Prometheus alone (`media_sensor_failed_ticks`).
"""

# No postponed annotations: Dagster reads the real ones of decorated functions.

import time
from collections.abc import Callable
from dataclasses import replace

import dagster as dg

from media_pipeline.domain.alerts import Alert, AlertSink
from media_pipeline.errors import PermanentError, TransientError
from media_pipeline.sensor_ticks import running_sensors
from media_pipeline.settings import Settings
from sensors.alert_plan import AlertState, plan_alerts
from sensors.failure_causes import Failure, read_failure, read_ticks
from sensors.runs import WILL_RETRY_TAG

NAME = "run_failures_sensor"
#: Dagster writes whether it will retry a moment after the failure itself.
_RETRY_DECISION_SECONDS = 20.0


def build_run_failures_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor, running from the start; it launches no runs."""

    @dg.sensor(
        name=NAME,
        target=None,
        minimum_interval_seconds=settings.alerts.tick_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells on-call of failed runs and of sensors whose ticks fail: one alert per"
        " cause and hour, one per unhealthy dependency.",
    )
    def run_failures_sensor(
        context: dg.SensorEvaluationContext, alert_sink: dg.ResourceParam[AlertSink]
    ) -> dg.SensorResult:
        return evaluate(context, alert_sink, settings)

    return run_failures_sensor


def evaluate(
    context: dg.SensorEvaluationContext,
    alert_sink: AlertSink,
    settings: Settings,
    clock: Callable[[], float] = time.time,
) -> dg.SensorResult:
    """One tick. A receiver that fails costs no other its alerts, and no alert is lost."""
    if not context.cursor:
        newest = _newest_failure(context.instance)
        return _result("Failures from now on are told.", AlertState(newest))
    state = AlertState.loads(context.cursor)
    failed_runs, after = _new_failures(context.instance, state.after, settings, clock())
    failing_sensors = _failing_sensors(context.instance, settings, clock())
    failures = [*failed_runs, *failing_sensors]
    alerts, told = plan_alerts(failures, state.told, clock(), settings)
    receivers = alert_sink.receivers
    state = replace(state, after=after, told=told).queued(receivers, alerts)
    for alert in alerts:
        context.log.info(_line(alert))
    undelivered = []
    for receiver in receivers:
        try:
            alert_sink.send(receiver, state.pending[receiver])
        except (TransientError, PermanentError) as error:
            context.log.warning("%d alerts wait: %s", len(state.pending[receiver]), error)
            undelivered.append(receiver)
        else:
            state = state.delivered(receiver)
    said = f"{len(failed_runs)} failed runs, {len(alerts)} alerts."
    if failing_sensors:
        names = sorted(failure.sensor for failure in failing_sensors)
        said += f" Ticks fail: {', '.join(names)}."
    if alerts and not receivers:
        said += " No receiver is set (MEDIA_PIPELINE_ALERTS__...): they stand in this log alone."
    if undelivered:
        said += f" Not delivered, tried again: {', '.join(undelivered)}."
    return _result(said, state)


def _result(said: str, state: AlertState) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(said), cursor=state.dumps())


def _failing_sensors(instance: dg.DagsterInstance, settings: Settings, now: float) -> list[Failure]:
    """Sensors of this instance whose ticks have failed for a while; not this one, which works."""
    limits = settings.alerts
    return [
        read_ticks(ticks)
        for ticks in running_sensors(instance)
        if ticks.failed >= limits.failed_ticks
        and now - (ticks.good_at or 0.0) >= limits.failed_ticks_seconds
    ]


def _newest_failure(instance: dg.DagsterInstance) -> int:
    newest = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1)
    return newest.records[0].storage_id if newest.records else 0


def _new_failures(
    instance: dg.DagsterInstance, after: int, settings: Settings, now: float
) -> tuple[list[Failure], int]:
    """Failures after that event, oldest first, and the last event that was looked at."""
    found = instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(
            event_type=dg.DagsterEventType.RUN_FAILURE, after_storage_id=after
        ),
        limit=settings.alerts.max_runs_per_tick,
        ascending=True,
    )
    ids = [record.event_log_entry.run_id for record in found.records]
    runs = {}
    if ids:  # Dagster refuses an empty list
        runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=ids))}
    failures = []
    for record in found.records:
        run = runs.get(record.event_log_entry.run_id)
        if run is not None:  # else it was deleted
            undecided = instance.run_retries_enabled and WILL_RETRY_TAG not in run.tags
            if undecided and now - record.timestamp < _RETRY_DECISION_SECONDS:
                break
            failures.append(
                read_failure(
                    instance, run, record.timestamp, max_asset_ids=settings.alerts.max_asset_ids
                )
            )
        after = record.storage_id
    return failures, after


def _line(alert: Alert) -> str:
    return (
        f"[{alert.severity}] {alert.summary}. {alert.description} Remedy: {alert.remedy}"
        f" Fingerprint {alert.fingerprint}, {alert.run_url}"
    )
