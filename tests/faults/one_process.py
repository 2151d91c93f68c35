"""The pipeline without daemon: sensor, runs and relay in one process that may die anywhere.

`python -m tests.faults.one_process` reads JSON lines from stdin, forks a child for each, which
loads the definitions anew, and answers its exit code: imports are paid once. A child works off
what is there: it ends what died, ticks both sensors, executes what they ask for, and relays.
The way back goes through the ledger alone: Dagster's own retries are the Kubernetes tests'.
"""

import json
import os
import sys
import traceback
from pathlib import Path

import dagster as dg

from media_pipeline.definitions import build_defs
from media_pipeline.jobs import ENRICH_MEDIA_JOB
from media_pipeline.settings import settings_of
from media_pipeline.telemetry.traces import tracing
from sensors.outbox_relay import relay
from sensors.runs import UNFINISHED

RUN_KEY = "dagster/run_key"
_ROUNDS = 10


def work(environment: dict[str, str], home: Path) -> None:
    """Until a round finds nothing to do."""
    settings = settings_of(environment)
    defs = build_defs(settings)
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        for dead in instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED))):
            instance.report_run_failed(dead)
        for _ in range(_ROUNDS):
            if not _round(defs, instance, home, settings):
                return
    raise AssertionError(f"there was still work after {_ROUNDS} rounds")


def _round(defs: dg.Definitions, instance: dg.DagsterInstance, home: Path, settings) -> bool:
    ran = False
    for name in ("media_events_sensor", "stragglers_sensor"):
        cursor = home / f"{name}.cursor"
        with dg.build_sensor_context(
            instance=instance,
            cursor=cursor.read_text() if cursor.exists() else None,
            definitions=defs,
            resources=defs.resources,
        ) as context:
            tick = defs.get_sensor_def(name).evaluate_tick(context)
        (home / f"{name}.skipped").write_text(tick.skip_message or "")
        for request in tick.run_requests or ():
            ran = _execute(defs, instance, request) or ran
        if tick.cursor:
            cursor.write_text(tick.cursor)
    with (
        dg.build_resources(
            {name: defs.resources[name] for name in ("metadata_store", "event_sink")},
            instance=instance,
        ) as ports,
        tracing(settings.telemetry, ""),
    ):
        done = relay(ports.metadata_store, ports.event_sink, chunk=3, deadline_seconds=30)
    return ran or bool(done.events)


def _execute(defs: dg.Definitions, instance: dg.DagsterInstance, request: dg.RunRequest) -> bool:
    """As the daemon does: a run key that was launched is not launched again."""
    if instance.get_run_ids(dg.RunsFilter(tags={RUN_KEY: request.run_key}), limit=1):
        return False
    job = defs.resolve_job_def(ENRICH_MEDIA_JOB)
    job.execute_in_process(
        instance=instance,
        run_config=request.run_config,
        tags={**request.tags, RUN_KEY: request.run_key},
        raise_on_error=False,
    )
    return True


def main() -> None:
    """Answer one exit code per line, until stdin ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            os.environ.update(asked["environment"])  # credentials are read when they are used
            try:
                work(asked["environment"], Path(asked["home"]))
                code = 0
            except BaseException:  # noqa: BLE001  # whatever it is, the parent is told
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
