"""Slots follow the backlog in seconds of work, between floor and ceiling."""

import dagster as dg
import pytest

from media_pipeline.settings import ScalingSettings, Settings
from sensors.scaling import evaluate
from sensors.scaling_plan import plan_slots
from tests.fakes import ledger_story
from tests.unit.sensors.test_media_events import World

SCALING = ScalingSettings(
    drain_seconds=100, workers_per_run=2, assumed_seconds=1.0,
    floor={"text": 2, "ocr": 1}, ceiling={"text": 8, "ocr": 3},
)  # fmt: skip
SETTINGS = Settings(scaling=SCALING, workloads=("text", "ocr"))


def slots(waiting, seconds):
    targets = plan_slots(waiting, seconds, SCALING)
    return {one.workload: (one.slots, one.bound) for one in targets}


def test_slots_are_seconds_of_work_over_what_a_slot_drains():
    assert slots({"text": 1000}, {"text": 1.0}) == {"text": (5, "")}
    assert slots({"text": 1001}, {"text": 1.0}) == {"text": (6, "")}


def test_a_workload_that_costs_more_gets_more():
    found = slots({"text": 300, "ocr": 300}, {"text": 0.5, "ocr": 1.5})
    assert found == {"text": (2, "its floor"), "ocr": (3, "")}


def test_floor_and_ceiling_hold_and_say_so():
    assert slots({"text": 0}, {}) == {"text": (2, "its floor")}
    assert slots({"text": 100_000}, {"text": 1.0}) == {"text": (8, "its ceiling (500 wanted)")}


def test_a_workload_never_measured_is_assumed():
    assert slots({"text": 600}, {}) == {"text": (3, "")}


def test_a_workload_without_bounds_of_its_own_keeps_one_slot():
    assert slots({"audio": 10_000}, {"audio": 1.0})["audio"][0] == 1
    assert plan_slots({"text": 1}, {}, SCALING.model_copy(update={"floor": {"text": 0}}))[0].slots


class Backlog:
    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.world = World(instance)
        self.instance = instance

    def tick(self) -> str:
        context = dg.build_sensor_context(instance=self.instance)
        return evaluate(context, self.world.log, self.world.ledger, SETTINGS).skip_message

    def limits(self) -> dict[str, int]:
        pools = self.instance.event_log_storage.get_pool_limits()
        return {pool.name: pool.limit for pool in pools}


@pytest.fixture
def backlog(tmp_path):
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield Backlog(instance)


def test_an_idle_system_has_its_floors(backlog):
    said = backlog.tick()
    assert backlog.limits() == {"text": 2, "ocr": 1}
    assert "text: 0 waiting x 1 s = 0 s of work -> 2 slots, its floor" in said


def test_messages_runs_and_backfills_all_count(backlog):
    for number in range(600):
        backlog.world.send(f"k{number}")
    assert "600 unread messages, 0 unfinished" in backlog.tick()
    assert backlog.limits() == {"text": 3, "ocr": 3}
    for number in range(200):
        ledger_story.arrive(backlog.world.ledger, f"r{number}")
    queued(backlog.instance)
    said = backlog.tick()
    assert "600 unread messages, 200 unfinished" in said
    assert "text: 1100 waiting" in said
    assert "ocr: 800 waiting" in said
    assert backlog.limits() == {"text": 6, "ocr": 3}


def test_slots_come_down_when_the_backlog_is_gone(backlog):
    for number in range(600):
        ledger_story.arrive(backlog.world.ledger, f"r{number}")
    backlog.tick()
    assert backlog.limits()["text"] == 3
    backlog.world.ledger.rows.clear()
    backlog.tick()
    assert backlog.limits() == {"text": 2, "ocr": 1}


def test_the_log_says_what_changed_and_only_that(backlog, capfd):
    backlog.tick()
    first = capfd.readouterr()
    backlog.tick()
    second = capfd.readouterr()
    assert (first.out + first.err).count("slots, its floor (before: no limit)") == 2
    assert "slots" not in second.out + second.err


def queued(instance: dg.DagsterInstance) -> None:
    """A backfill run of 300 media assets over `text`, waiting in the run queue."""
    instance.create_run_for_job(
        _noop,
        asset_selection=frozenset([dg.AssetKey("text")]),
        tags={"dagster/backfill": "b", "media/batch_size": "300"},
    )


_noop = dg.Definitions(
    assets=[dg.asset(name="text")(lambda: None)], jobs=[dg.define_asset_job("noop", "*")]
).resolve_job_def("noop")
