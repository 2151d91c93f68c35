"""The daily job over a world in memory and an instance of its own."""

import time

import dagster as dg
import pytest

from media_pipeline.reconcile_job import (
    InstanceMaterializations,
    build_reconcile_job,
    build_reconcile_schedule,
    cursor_of,
)
from media_pipeline.settings import Settings
from tests.unit.replays.test_reconciliation import World


@pytest.fixture
def instance():
    with dg.instance_for_test() as found:
        yield found


@pytest.fixture
def world(instance):
    """Three media assets, in Dagster as well; the instance has no cursor: nothing was read."""
    world = World()
    for name in ("a", "b", "c"):
        materialize(instance, name)
    return world


def materialize(instance, name):
    instance.report_runless_asset_event(dg.AssetMaterialization("enrichment", partition=name))


def run(world, instance):
    now = time.time()
    return build_reconcile_job(Settings()).execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={
            "ops": {"reconcile": {"config": {"since": now - 60, "until": now + 60}}},
        },
        resources={
            "event_source": world.log,
            "object_store": world.objects,
            "ledger_audit": world.audit,
        },
    )


def failure(result):
    (event,) = result.filter_events(lambda event: event.is_step_failure)
    return event.step_failure_data.user_failure_data


def test_what_fits_succeeds(world, instance):
    assert run(world, instance).success


def test_findings_fail_the_run_with_their_remedies(world, instance):
    key = world.enrich("d")
    materialize(instance, "stranger")
    del world.objects.objects[key]
    result = run(world, instance)
    assert not result.success
    found = failure(result)
    assert found.description.startswith("3 findings between ")
    for kind in ("missing_object", "unmaterialized", "unrecorded"):
        assert f"1 {kind}: " in found.description
    assert "Remedy: media-pipeline reconcile --fix" in found.description
    assert found.metadata["counts"].value == {
        "missing_object": 1, "unmaterialized": 1, "unrecorded": 1,
    }  # fmt: skip
    assert key in found.metadata["first_findings"].value


def test_materializations_of_the_instance_page_by_page(instance, monkeypatch):
    monkeypatch.setattr("media_pipeline.reconcile_job._PAGE", 2)
    started = time.time()
    for name in ("a", "b", "a", "a", "c"):
        materialize(instance, name)
    known = InstanceMaterializations(instance)
    latest = known.latest(["a", "b", "c", "none"])
    assert set(latest) == {"a", "b", "c"}
    assert latest["b"] <= latest["a"] <= latest["c"]
    assert latest["b"] >= started
    pages = list(known.between(started - 1, time.time() + 1))
    assert len(pages) > 1
    assert {key for page in pages for key in page} == {"a", "b", "c"}
    assert list(known.between(started - 100, started - 50)) == []


def test_an_instance_without_a_tick_has_no_cursor(instance):
    assert cursor_of(instance).positions == {}


def test_the_schedule_runs_daily_from_the_start():
    schedule = build_reconcile_schedule(build_reconcile_job(Settings()))
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.cron_schedule == "23 3 * * *"
