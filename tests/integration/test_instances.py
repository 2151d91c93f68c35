"""Each dagster.yaml makes an instance, and what operators rely on is set in it."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.instance.ref import InstanceRef
from dagster._core.scheduler.instigation import TickStatus

from media_pipeline.batch_tags import BACKFILL_TAG, LANE_TAG
from media_pipeline.run_retries import MAX_RETRIES_TAG, RETRIES

HOME = Path(__file__).resolve().parents[2] / "dagster_home"
FILES = ("dagster.yaml", "dagster.postgres.yaml", "dagster.k8s.yaml")


@pytest.fixture(params=FILES)
def instance(request, tmp_path, monkeypatch, stack):
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", stack.dagster_postgres_url)
    monkeypatch.setenv("MEDIA_PIPELINE_NAMESPACE", "media")
    (tmp_path / "dagster.yaml").write_text((HOME / request.param).read_text())
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path))) as made:
        made.file = request.param
        yield made


def test_nothing_is_told_to_anybody(instance):
    assert not instance.telemetry_enabled
    assert not instance.nux_enabled


def test_it_answers_from_the_storage_it_names(instance):
    instance.add_dynamic_partitions("test_instances", ["a"])
    assert instance.get_dynamic_partitions("test_instances") == ["a"]
    kind = type(instance.run_storage).__name__
    assert ("Sqlite" in kind) is (instance.file == "dagster.yaml")


def test_live_runs_always_find_a_place(instance):
    queue = instance.get_concurrency_config().run_queue_config
    limits = {(one["key"], one.get("value")): one["limit"] for one in queue.tag_concurrency_limits}
    assert set(limits) == {(LANE_TAG, "backfill"), (BACKFILL_TAG, None)}
    assert all(0 < limit < queue.max_concurrent_runs for limit in limits.values())


def test_pools_limit_runs_and_have_no_limit_of_their_own(instance):
    pools = instance.get_concurrency_config().pool_config
    assert pools.pool_granularity.value == "run"
    assert pools.default_pool_limit is None


def test_runs_that_die_are_found_and_never_resumed(instance):
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_max_resume_run_attempts == 0
    assert 0 < instance.run_monitoring_max_runtime_seconds <= 7200
    assert instance.run_monitoring_start_timeout_seconds >= 180


def test_runs_without_tags_are_retried_too(instance):
    """Backfills from the UI: a pod that never came up said nothing about retries. A systemic
    error sets the tag to 0 before the run fails."""
    assert instance.run_retries_enabled
    assert instance.run_retries_max_retries == int(RETRIES[MAX_RETRIES_TAG])
    assert instance.run_retries_retry_on_asset_or_op_failure


def test_ticks_are_kept_for_a_while(instance):
    days = instance.get_tick_retention_settings(InstigatorType.SENSOR)
    assert days[TickStatus.SKIPPED] == 1
    assert 0 < days[TickStatus.SUCCESS] <= days[TickStatus.FAILURE] <= 90
    schedules = instance.get_tick_retention_settings(InstigatorType.SCHEDULE)
    assert all(kept > 0 for kept in schedules.values())


def test_daemons_work_side_by_side(instance):
    for name in ("sensors", "schedules", "backfills"):
        assert instance.get_settings(name)["use_threads"]
    assert instance.get_settings("freshness")["enabled"]


def test_debug_lines_stay_out_of_the_event_log(instance):
    assert instance.python_log_level == "INFO"


def test_no_secret_stands_in_the_file(instance):
    """A Job's arguments carry the whole file."""
    text = (HOME / instance.file).read_text().lower()
    for word in ("password", "secret_key", "://"):
        assert word not in text
