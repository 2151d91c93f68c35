"""`retirement_sensor`: Dagster keeps a bounded window of asset partitions, the ledger keeps all.

A tick looks at a bounded number of keys, oldest first, asks the ledger which of them are done
long enough, and removes those from the partition set. Nothing else is removed: materializations
stay, so a key that comes back (ingested again, replayed, backfilled) has its history.

With 104,000 keys known a tick over its page of 10,000 took 0.2 s, with 3,000 known 0.08 s over all
of them (benchmarks/tick_cost.py, two cores); listing all of 100,000 takes 0.5 s.
"""

# No postponed annotations: Dagster reads the real ones of decorated functions.

import time
from collections.abc import Callable, Sequence

import dagster as dg

from media_pipeline.batch_tags import RANGE_END_TAG, RANGE_START_TAG, SIZE_TAG, run_keys
from media_pipeline.domain.operations import OperationsLedger
from media_pipeline.partitions import MEDIA_ASSETS
from media_pipeline.settings import RetirementSettings, Settings
from sensors.retirement_plan import Place, Range, busy_keys, decided_by, removable
from sensors.runs import UNFINISHED

NAME = "retirement_sensor"
#: Also those that are being cancelled: they hold their partitions until they have ended.
_UNFINISHED = [*UNFINISHED, dg.DagsterRunStatus.CANCELING]


def build_retirement_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor, running from the start; it launches no runs."""

    @dg.sensor(
        name=NAME,
        target=None,
        minimum_interval_seconds=settings.retirement.tick_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Removes asset partitions that are done and outside the window; the ledger"
        " keeps them, and whatever needs one again adds it again.",
    )
    def retirement_sensor(
        context: dg.SensorEvaluationContext, operations_ledger: dg.ResourceParam[OperationsLedger]
    ) -> dg.SensorResult:
        return evaluate(context, operations_ledger, settings.retirement)

    return retirement_sensor


def evaluate(
    context: dg.SensorEvaluationContext,
    ledger: OperationsLedger,
    settings: RetirementSettings,
    clock: Callable[[], float] = time.monotonic,
) -> dg.SensorResult:
    """One tick. Raises what the ledger raises; then nothing was removed and the cursor stays."""
    deadline = clock() + settings.tick_deadline_seconds
    instance = context.instance
    if _backfilling(instance):
        return _result("A backfill is under way: its partitions must stay.", context.cursor)
    place = _place(instance, Place.loads(context.cursor), settings)
    page = instance.get_paginated_dynamic_partitions(
        MEDIA_ASSETS, limit=settings.max_keys_per_tick, ascending=True, cursor=place.after
    )
    crowded, others = place.split(page.results)
    done = [
        *ledger.retirable(crowded, idle_seconds=settings.idle_seconds),
        *ledger.retirable(others, idle_seconds=settings.keep_days * 86_400),
    ]
    going: list[str] = []
    removed: list[str] = []
    if done:
        runs = instance.get_run_records(
            dg.RunsFilter(statuses=_UNFINISHED), limit=settings.max_unfinished_runs + 1
        )
        if len(runs) > settings.max_unfinished_runs:
            return _result(
                f"More than {settings.max_unfinished_runs} runs are unfinished: partitions that"
                " they need cannot be told from others, none was removed.",
                context.cursor,
            )
        unfinished = [one.dagster_run for one in runs]
        going = removable(done, _busy(instance, page.results, unfinished))
        removed = _remove(instance, going, lambda: clock() < deadline)
    cut_short = len(removed) < len(going)
    removed = _without_needed(instance, ledger, removed) if removed else []
    # A page that was cut short is looked at again.
    if not cut_short:
        place = place.behind(page.results, page.cursor) if page.has_more else Place()
    said = (
        f"Window {settings.keep_keys} keys and {settings.keep_days:g} days: looked at"
        f" {len(page.results)}, {len(done)} done and outside, removed"
        f" {len(removed)}{_span(removed)}."
    )
    if removed:
        context.log.info(said)
    return _result(said, place.dumps())


def _place(instance: dg.DagsterInstance, place: Place, settings: RetirementSettings) -> Place:
    """Where this tick goes on. A round begins with a look at the newest keys, which costs as much
    as the window is large; the ticks after it read a page each."""
    lost = place.boundary and not instance.has_dynamic_partition(MEDIA_ASSETS, place.boundary)
    if place.after and not lost:
        return place
    newest = instance.get_paginated_dynamic_partitions(
        MEDIA_ASSETS, limit=settings.keep_keys, ascending=False
    )
    return Place(None, newest.results[-1] if newest.has_more else None)


def _result(said: str, cursor: str | None) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(said), cursor=cursor)


def _backfilling(instance: dg.DagsterInstance) -> bool:
    # Dagster publishes no name for these two.
    from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

    unfinished = BulkActionsFilter(
        statuses=[BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING]
    )
    return bool(instance.get_backfills(filters=unfinished, limit=1))


def _busy(
    instance: dg.DagsterInstance, page: Sequence[str], runs: Sequence[dg.DagsterRun]
) -> set[str]:
    """Keys of the page that unfinished runs need, and maybe others."""
    ranges = [
        Range(run.tags[RANGE_START_TAG], run.tags[RANGE_END_TAG], _size(run))
        for run in runs
        if RANGE_START_TAG in run.tags and RANGE_END_TAG in run.tags
    ]
    if not decided_by(page, ranges):  # somebody's own run over a long range
        page = instance.get_dynamic_partitions(MEDIA_ASSETS)
    return busy_keys(page, ranges).union(*(run_keys(run.tags, run.run_config) for run in runs))


def _size(run: dg.DagsterRun) -> int | None:
    told = run.tags.get(SIZE_TAG, "")
    return int(told) if told.isdecimal() else None


def _remove(
    instance: dg.DagsterInstance, keys: Sequence[str], in_time: Callable[[], bool]
) -> list[str]:
    removed = []
    for key in keys:
        if not in_time():
            break
        instance.delete_dynamic_partition(MEDIA_ASSETS, key)
        removed.append(key)
    return removed


def _without_needed(
    instance: dg.DagsterInstance, ledger: OperationsLedger, removed: Sequence[str]
) -> list[str]:
    """Give back what somebody began to need while it was removed; answers what stays removed.

    Whoever needs a key writes that down first (ledger row, backfill) and adds the key after: so
    what is not seen needed now is added by them later.
    """
    idle = set() if _backfilling(instance) else set(ledger.retirable(removed, idle_seconds=0))
    needed = [key for key in removed if key not in idle]
    if needed:
        instance.add_dynamic_partitions(MEDIA_ASSETS, needed)
    return [key for key in removed if key in idle]


def _span(keys: Sequence[str]) -> str:
    return f" ({keys[0]} .. {keys[-1]})" if keys else ""
