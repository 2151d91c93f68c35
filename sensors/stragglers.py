"""`stragglers_sensor`: what nobody works on any more is launched again.

A run can be lost without a trace: its retries are used up, somebody cancelled it, the daemon
died before it was made. The ledger still has its media assets as unfinished. Those that no
living run covers are launched again, alone or in small batches where runs have died before;
so every content version ends, whatever happens to runs. Held ones follow their resume.
"""

# No postponed annotations: Dagster reads the real ones of decorated functions.

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from media_pipeline.batch_tags import (
    CANARY_TAG,
    SIZE_TAG,
    lane_tags,
    run_keys,
    set_run_config,
    set_run_tags,
)
from media_pipeline.domain.media_asset import Priority
from media_pipeline.domain.recovery import DependencyProbe, RecoveryStore, Waiting
from media_pipeline.jobs import EnrichMediaJob
from media_pipeline.partitions import MEDIA_ASSETS
from media_pipeline.settings import BatchSettings, Settings
from sensors.batch_plan import batches
from sensors.canary import is_ours, left_to_others, why_it_rests
from sensors.gate import look
from sensors.runs import UNFINISHED, WILL_RETRY_TAG

NAME = "stragglers_sensor"
#: The same over a candidate's share, which nobody else launches at all.
CANDIDATE_NAME = "canary_sensor"
#: On runs of this sensor: which batch, in which state, they were made for.
BATCH_TAG = "media/stragglers"
_MAX_ROWS = 5000
_MAX_RUNS = 2000
#: New messages may not keep the old ones out: this many runs beyond the intake's limit.
_RESERVED_RUNS = 2
#: The run that covers a new message is made within a tick and a daemon's round.
_BEFORE, _AFTER = 60.0, 300.0
#: A failed run's retry is made by another daemon, a moment later; one that does not come for as
#: long as this is not waited for.
_RETRY_SECONDS = 600.0
_RETRIED_BY_TAG = "dagster/auto_retry_run_id"
#: After these attempts each further one waits twice as long.
_PATIENT_ATTEMPTS, _FIRST_PAUSE, _LONGEST_PAUSE = 3, 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that has not ended. `created`: seconds since the epoch; `keys`: media assets that
    it was launched again with, empty for runs of other sensors."""

    root_run_id: str
    created: float
    keys: frozenset[str] = frozenset()


def stragglers(rows: Sequence[Waiting], live: Sequence[LiveRun], now: float) -> list[Waiting]:
    """Those of `rows` that no living run covers and whose pause is over. Pure."""
    roots = {run.root_run_id for run in live}
    created = sorted(run.created for run in live)
    taken = frozenset[str]().union(*(run.keys for run in live))
    rest = [row for row in rows if row.asset_id not in taken]
    return [row for row in rest if _is_alone(row, roots, created, now)]


def _is_alone(row: Waiting, roots: set[str], created: Sequence[float], now: float) -> bool:
    if row.released:
        return True
    if row.attempts and row.root_run_id in roots:
        return False
    if not row.attempts:
        since = row.waiting_since
        return not any(since - _BEFORE <= one <= since + _AFTER for one in created)
    return now - (row.claimed_at or 0) >= pause_after(row.attempts)


def pause_after(attempts: int) -> float:
    """Seconds between a lost attempt and the next one."""
    if attempts < _PATIENT_ATTEMPTS:
        return 0.0
    return float(min(_FIRST_PAUSE * 2 ** (attempts - _PATIENT_ATTEMPTS), _LONGEST_PAUSE))


def groups(
    rows: Sequence[Waiting], pace: float, settings: BatchSettings
) -> Iterator[tuple[Priority, Sequence[Waiting]]]:
    """Batches by lane. What runs have died with goes in small ones: fewer neighbours wait."""
    lanes: tuple[Priority, ...] = ("live", "backfill")
    for lane in lanes:
        of_lane = [row for row in rows if row.priority == lane]
        calm = _one_version_each([row for row in of_lane if not row.lost_attempts])
        lost = _one_version_each([row for row in of_lane if row.lost_attempts])
        for part in batches(calm, pace, settings):
            yield lane, part
        for start in range(0, len(lost), settings.min_keys):
            yield lane, lost[start : start + settings.min_keys]


def _one_version_each(rows: Sequence[Waiting]) -> list[Waiting]:
    """One run holds one content version of a media asset; the others wait for the next tick."""
    return list({row.asset_id: row for row in reversed(rows)}.values())[::-1]


def build_stragglers_sensor(settings: Settings, job: EnrichMediaJob) -> dg.SensorDefinition:
    """The sensor, running from the start. In a candidate it is what launches its share."""
    batch, candidate = settings.batch, settings.canary.candidate

    @dg.sensor(
        name=CANDIDATE_NAME if candidate else NAME,
        job=job,
        minimum_interval_seconds=(
            batch.tick_interval_seconds if candidate else batch.straggler_interval_seconds
        ),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Launches the media assets that are left to this candidate."
            if candidate
            else "Launches unfinished media assets again that no run works on any more."
        ),
    )
    def stragglers_sensor(
        context: dg.SensorEvaluationContext,
        recovery_store: dg.ResourceParam[RecoveryStore],
        dependencies: dg.ResourceParam[DependencyProbe],
    ) -> dg.SensorResult | dg.SkipReason:
        return evaluate(context, recovery_store, dependencies, settings)

    return stragglers_sensor


def evaluate(
    context: dg.SensorEvaluationContext,
    recovery: RecoveryStore,
    dependencies: DependencyProbe,
    settings: Settings,
) -> dg.SensorResult | dg.SkipReason:
    """One tick; it keeps no cursor, because the ledger knows what waits."""
    instance, batch, canary = context.instance, settings.batch, settings.canary
    gate = look(instance, recovery, dependencies)
    closed = gate.closed or (why_it_rests(instance) if canary.candidate else "")
    if closed:
        return dg.SkipReason(closed)
    live = _live_runs(instance)
    room = 1 if gate.trial else batch.max_in_flight_runs + _RESERVED_RUNS
    if len(live) >= room:
        return dg.SkipReason(f"{len(live)} runs are unfinished (limit {room}): none is added.")
    scopes = [f"bucket:{bucket}" for bucket in gate.paused_buckets] + left_to_others(canary)
    rows = recovery.waiting(scopes, batch.straggler_grace_seconds, _MAX_ROWS)
    ours = [row for row in rows if is_ours(row.asset_id, canary)]
    found = stragglers(ours, live + _to_be_retried(instance), time.time())
    requests: list[dg.RunRequest] = []
    for lane, part in groups(found, batch.assumed_seconds_per_asset, batch):
        if len(live) + len(requests) >= room:
            break
        limit = batch.min_keys if gate.trial else len(part)
        tags = lane_tags(lane, settings.runs.priority_classes)
        if canary.candidate:
            tags[CANARY_TAG] = "true"
        request = _request(instance, tags, part[:limit])
        if request is not None:
            requests.append(request)
    covered = sum(int(request.tags[SIZE_TAG]) for request in requests)
    said = (
        f"{len(rows)} media assets wait without news, {len(found)} of them without a run:"
        f" {covered} are launched again in {len(requests)} runs."
    )
    if not requests:
        return dg.SkipReason(said)
    keys = [key for request in requests for key in run_keys(request.tags, request.run_config)]
    # Retired meanwhile, or never added: adding again is harmless.
    instance.add_dynamic_partitions(MEDIA_ASSETS, keys)
    context.log.warning(said)
    return dg.SensorResult(run_requests=requests)


def _request(
    instance: dg.DagsterInstance, lane: Mapping[str, str], part: Sequence[Waiting]
) -> dg.RunRequest | None:
    """A run over the batch, numbered: one that ended before it claimed anything leaves no other
    trace. None while the pause after the last of several such runs goes on."""
    keys = [row.asset_id for row in part]
    exact = "\n".join(f"{row.asset_id} {row.content_version} {row.fence}" for row in part)
    digest = hashlib.sha256(exact.encode()).hexdigest()[:20]
    before = instance.get_run_records(dg.RunsFilter(tags={BATCH_TAG: digest}), limit=_MAX_RUNS)
    if before:
        newest = max(one.create_timestamp.timestamp() for one in before)
        if time.time() - newest < pause_after(len(before)):
            return None
    return dg.RunRequest(
        run_key=f"stragglers:{digest}:{len(before)}",
        run_config=set_run_config(keys),
        tags={**set_run_tags(keys), **lane, BATCH_TAG: digest},
    )


def _live_runs(instance: dg.DagsterInstance) -> list[LiveRun]:
    return _runs(instance, dg.RunsFilter(statuses=list(UNFINISHED)))


def _to_be_retried(instance: dg.DagsterInstance) -> list[LiveRun]:
    """Failed runs between their end and their retry: who launched their media assets again now
    would have them processed, and counted, twice."""
    since = datetime.now(UTC) - timedelta(seconds=_RETRY_SECONDS)
    failed = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE], tags={WILL_RETRY_TAG: "true"}, updated_after=since
    )
    return _runs(instance, failed, lambda run: _RETRIED_BY_TAG not in run.tags)


def _runs(
    instance: dg.DagsterInstance,
    wanted: dg.RunsFilter,
    also: Callable[[dg.DagsterRun], bool] = lambda _: True,
) -> list[LiveRun]:
    records = instance.get_run_records(wanted, limit=_MAX_RUNS)
    return [
        LiveRun(
            record.dagster_run.root_run_id or record.dagster_run.run_id,
            record.create_timestamp.timestamp(),
            frozenset(_keys_of(record.dagster_run)),
        )
        for record in records
        if also(record.dagster_run)
    ]


def _keys_of(run: dg.DagsterRun) -> list[str]:
    return run_keys(run.tags, run.run_config) if BATCH_TAG in run.tags else []
