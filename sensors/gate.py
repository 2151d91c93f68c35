"""Whether the intake may launch anything: pauses that people set, breakers that runs opened.

A breaker opens when a run ends with a systemic error. While it is open nothing is launched.
When its time has come the dependencies are probed; if they answer, a small batch is tried,
and the first outcome that is recorded closes it. Nobody has to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from media_pipeline.batch_tags import CANARY_TAG
from media_pipeline.dead_letters.policy import opens_breaker
from media_pipeline.domain.recovery import Controls, DependencyProbe, RecoveryStore, Trip
from media_pipeline.errors import MediaPipelineError
from media_pipeline.run_retries import ERROR_CODE_TAG, ERROR_TAG, STOPPED, STOPPED_TAG

#: Runs that stopped longer ago are told already, or are old news.
_LOOK_BACK = timedelta(hours=1)
_MAX_STOPPED = 50


@dataclass(frozen=True, slots=True)
class Gate:
    """`closed`: why nothing may be launched, else empty. `trial`: one small batch may.
    `paused_buckets`: messages of these are taken and held."""

    closed: str = ""
    trial: bool = False
    paused_buckets: frozenset[str] = frozenset()


def look(instance: dg.DagsterInstance, recovery: RecoveryStore, probe: DependencyProbe) -> Gate:
    """Tell the ledger of runs that stopped, probe when it is time, and read what is in force."""
    stopped = list(_stopped_runs(instance))
    if stopped:
        recovery.trip(stopped)
    controls = recovery.controls()
    if any(one.state == "open" and one.retry_in_seconds <= 0 for one in controls.breakers):
        _probe(recovery, probe)
        controls = recovery.controls()
    return gate_of(controls)


def gate_of(controls: Controls) -> Gate:
    """What pauses and breakers amount to."""
    pause = controls.pause()
    buckets = frozenset(
        scope.partition(":")[2] for scope in controls.paused_scopes() if scope.startswith("bucket:")
    )
    if pause is not None:
        since = datetime.fromtimestamp(pause.at, UTC).isoformat(timespec="seconds")
        return Gate(f"Paused by {pause.who} since {since}: {pause.reason}", False, buckets)
    for one in controls.breakers:
        if one.state == "open":
            wait = max(0, round(one.retry_in_seconds))
            closed = (
                f"Breaker {one.code} is open (run {one.run_id}): {one.message}"
                f" Dependencies are probed in {wait} s."
            )
            return Gate(closed, False, buckets)
    return Gate("", bool(controls.breakers), buckets)


def _stopped_runs(instance: dg.DagsterInstance) -> Iterator[Trip]:
    runs = instance.get_run_records(
        dg.RunsFilter(tags={STOPPED_TAG: STOPPED}, updated_after=datetime.now(UTC) - _LOOK_BACK),
        limit=_MAX_STOPPED,
        ascending=True,
    )
    for record in runs:
        tags = record.dagster_run.tags
        if CANARY_TAG in tags:
            continue  # a candidate that fails must not stop the others: sensors/canary.py
        code = tags.get(ERROR_CODE_TAG, STOPPED)
        if opens_breaker(code):
            yield Trip(record.dagster_run.run_id, code, tags.get(ERROR_TAG, ""))


def _probe(recovery: RecoveryStore, probe: DependencyProbe) -> None:
    try:
        probe.probe()
    except MediaPipelineError as error:
        recovery.probed(passed=False, said=str(error))
    else:
        recovery.probed(passed=True)
