"""Old runs go with their events once no known partition shows them; others stay whole."""

import time

import dagster as dg
import pytest

from media_pipeline.batch_tags import range_run_tags
from media_pipeline.settings import RetirementSettings
from sensors.run_retention import evaluate

SETTINGS = RetirementSettings(keep_run_days=90, max_runs_per_tick=2)
DAY = 86_400
PARTITIONS = dg.DynamicPartitionsDefinition(name="media_asset")


@dg.asset(partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
def text(context: dg.AssetExecutionContext) -> None:
    if context.partition_keys[0].startswith("bad"):
        raise RuntimeError("always")


@dg.job
def daily(): ...


JOB = dg.Definitions(assets=[text], jobs=[dg.define_asset_job("job", "*")]).resolve_job_def("job")


class Retention:
    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: str | None = None

    def run(self, key: str) -> str:
        self.instance.add_dynamic_partitions("media_asset", [key])
        done = JOB.execute_in_process(
            instance=self.instance, partition_key=key, raise_on_error=False
        )
        return done.run_id

    def run_range(self, *keys: str) -> str:
        self.instance.add_dynamic_partitions("media_asset", keys)
        done = JOB.execute_in_process(
            instance=self.instance, raise_on_error=False, tags=range_run_tags(keys)
        )
        return done.run_id

    def forget(self, *keys: str) -> None:
        for key in keys:
            self.instance.delete_dynamic_partition("media_asset", key)

    def tick(self, days: float = 91) -> str:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = evaluate(context, SETTINGS, clock=lambda: time.time() + days * DAY)
        self.cursor = result.cursor
        return result.skip_reason.skip_message

    def runs(self) -> set[str]:
        return {run.run_id for run in self.instance.get_runs()}


@pytest.fixture
def retention():
    with dg.DagsterInstance.ephemeral() as instance:
        yield Retention(instance)


def test_an_old_run_goes_when_its_partitions_are_forgotten(retention):
    gone, stays = retention.run("a"), retention.run("b")
    retention.forget("a")
    assert "deleted 1, 1 have asset partitions" in retention.tick()
    assert retention.runs() == {stays}
    assert retention.instance.all_logs(gone) == []
    assert retention.instance.get_materialized_partitions(dg.AssetKey("text")) == {"b"}


def test_a_young_run_stays(retention):
    young = retention.run("a")
    retention.forget("a")
    assert "Looked at 0 runs" in retention.tick(days=89)
    assert retention.runs() == {young}


def test_a_failed_run_stays_while_its_failure_is_shown(retention):
    failed = retention.run("bad")
    retention.tick()
    assert retention.runs() == {failed}
    retention.forget("bad")
    retention.tick()
    assert retention.runs() == set()


def test_a_failed_range_run_stays_while_one_key_of_it_is_known(retention):
    failed = retention.run_range("bad-1", "bad-2", "bad-3")
    retention.forget("bad-1", "bad-3")
    retention.tick()
    assert retention.runs() == {failed}
    retention.forget("bad-2")
    retention.tick()
    assert retention.runs() == set()


def test_a_run_without_partitions_goes_by_age(retention):
    daily.execute_in_process(instance=retention.instance)
    retention.tick()
    assert retention.runs() == set()


def test_an_unfinished_run_stays(retention):
    run = retention.instance.create_run_for_job(daily, status=dg.DagsterRunStatus.STARTED)
    retention.tick()
    assert retention.runs() == {run.run_id}


def test_ticks_are_bounded_and_go_on_behind_what_stays(retention):
    kept = [retention.run(f"k{number}") for number in range(2)]
    for number in range(3):
        retention.run(f"g{number}")
    retention.forget("g0", "g1", "g2")
    deleted = []
    for _ in range(3):
        deleted.append(5 - len(retention.runs()))
        retention.tick()
    assert deleted == [0, 0, 2]
    assert retention.runs() == set(kept)
    assert retention.cursor == "", "and begins anew"
