"""`retirement_sensor`: Dagster keeps a bounded window of asset partitions, the ledger keeps all.

A tick looks at a bounded number of keys, oldest first, asks the ledger which of them are done
long enough, and removes those from the partition set. Nothing else is removed: materializations
stay, so a key that comes back (ingested again, replayed, backfilled) has its history.
"""

# No postponed annotations: Dagster reads the real ones of decorated functions.

import time
from collections.abc import Callable, Sequence

import dagster as dg

from media_pipeline.batch_tags import RANGE_END_TAG, RANGE_START_TAG, run_keys
from media_pipeline.domain.operations import OperationsLedger
from media_pipeline.partitions import MEDIA_ASSETS
from media_pipeline.settings import RetirementSettings, Settings
from sensors.retirement_plan import busy_keys, page_of, removable
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
    known = instance.get_dynamic_partitions(MEDIA_ASSETS)
    page = page_of(known, context.cursor or None, settings)
    done = [
        *ledger.retirable(page.crowded, idle_seconds=settings.idle_seconds),
        *ledger.retirable(page.others, idle_seconds=settings.keep_days * 86_400),
    ]
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
        going = removable(done, _busy(known, [one.dagster_run for one in runs]))
        removed = _remove(instance, going, lambda: clock() < deadline)
        removed = _without_needed(instance, ledger, removed)
    # A page that gave all it had is behind us; one that was cut short is looked at again.
    kept = [key for key in page.keys if key not in set(removed)]
    cursor = "" if page.last else (kept[-1] if kept else context.cursor)
    said = (
        f"{len(known)} asset partitions known, window {settings.keep_keys} keys and"
        f" {settings.keep_days:g} days: looked at {len(page.keys)}, {len(done)} done and outside,"
        f" removed {len(removed)}{_span(removed)}."
    )
    if removed:
        context.log.info(said)
    return _result(said, cursor)


def _result(said: str, cursor: str | None) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(said), cursor=cursor)


def _backfilling(instance: dg.DagsterInstance) -> bool:
    # Dagster publishes no name for these two.
    from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

    unfinished = BulkActionsFilter(
        statuses=[BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING]
    )
    return bool(instance.get_backfills(filters=unfinished, limit=1))


def _busy(known: Sequence[str], runs: Sequence[dg.DagsterRun]) -> set[str]:
    ranges = [
        (run.tags[RANGE_START_TAG], run.tags[RANGE_END_TAG])
        for run in runs
        if RANGE_START_TAG in run.tags and RANGE_END_TAG in run.tags
    ]
    return busy_keys(known, ranges).union(*(run_keys(run.tags, run.run_config) for run in runs))


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
