"""What is launched again, and what is left alone because somebody works on it."""

import time

import dagster as dg
import pytest

from media_pipeline.batch_tags import LANE_TAG, SIZE_TAG, run_keys
from media_pipeline.domain.recovery import Waiting
from media_pipeline.settings import BatchSettings, Settings
from sensors.stragglers import LiveRun, evaluate, groups, pause_after, stragglers
from tests.fakes.ledger_story import arrive
from tests.fakes.ledger_story import run as run_to_its_end
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.recovery_store import FakeRecoveryStore

NOW = 1_000_000.0
SETTINGS = Settings(batch=BatchSettings(min_keys=2, max_keys=4, straggler_grace_seconds=300))


def row(asset_id="a", *, attempts=1, root="r", lost=0, released=False, since=NOW - 900, claimed=NOW - 900, priority="live", version="1"):  # noqa: E501  # fmt: skip
    return Waiting(
        asset_id, version, "claimed" if attempts else "registered", attempts, lost, attempts, root,
        root, priority, released, since, claimed if attempts else None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("waiting", "live", "alone"),
    [
        (row(), [], True),
        (row(), [LiveRun("r", NOW - 900)], False),
        (row(), [LiveRun("other", NOW - 900)], True),
        (row(attempts=0, root=None), [], True),
        (row(attempts=0, root=None), [LiveRun("x", NOW - 890)], False),
        (row(attempts=0, root=None), [LiveRun("x", NOW - 5000)], True),
        (row(attempts=0, root=None), [LiveRun("x", NOW - 10)], True),
        (row(attempts=0, root="r"), [LiveRun("r", NOW - 10)], True),
        (row(attempts=3, claimed=NOW - 59), [], False),
        (row(attempts=3, claimed=NOW - 61), [], True),
        (row(attempts=5, claimed=NOW - 239), [], False),
        (row(attempts=0, root=None, released=True), [LiveRun("x", NOW - 890)], True),
        (row(), [LiveRun("x", NOW - 1, frozenset({"a", "b"}))], False),
        (row(), [LiveRun("x", NOW - 1, frozenset({"b"}))], True),
    ],
    ids=[
        "its run is gone", "its run lives", "another run lives", "never claimed, no run",
        "a run was made for it", "an older run is not for it", "a later run is not for it",
        "a replay's row still names its old run", "third attempt waits", "third attempt goes",
        "fifth waits longer", "held before, released now",
        "launched again already", "another was launched again",
    ],
)  # fmt: skip
def test_who_is_alone(waiting, live, alone):
    assert stragglers([waiting], live, NOW) == ([waiting] if alone else [])


def test_pauses_grow_to_an_hour():
    assert [pause_after(n) for n in (0, 2, 3, 4, 8, 9, 50)] == [0, 0, 60, 120, 1920, 3600, 3600]


def test_batches_by_lane_and_small_ones_where_runs_died():
    calm = [row(f"c{n}") for n in range(5)]
    lost = [row(f"l{n}", lost=1) for n in range(3)]
    slow = [row("s", priority="backfill")]
    found = [
        (lane, [one.asset_id for one in part])
        for lane, part in groups([*slow, *lost, *calm], 0.1, SETTINGS.batch)
    ]
    assert found == [
        ("live", ["c0", "c1", "c2"]), ("live", ["c3", "c4"]), ("live", ["l0", "l1"]),
        ("live", ["l2"]), ("backfill", ["s"]),
    ]  # fmt: skip


def test_of_two_versions_the_older_goes_first():
    found = list(groups([row("a", version="1"), row("a", version="2")], 0.1, SETTINGS.batch))
    assert [(one.asset_id, one.content_version) for _, part in found for one in part] == [
        ("a", "1")
    ]


class Healthy:
    def probe(self): ...


class World:
    def __init__(self, instance):
        self.instance = instance
        self.ledger = FakeMetadataStore()
        self.recovery = FakeRecoveryStore(self.ledger)

    def tick(self):
        context = dg.build_sensor_context(instance=self.instance)
        return evaluate(context, self.recovery, Healthy(), SETTINGS)

    def much_later(self):
        self.ledger.clock = lambda: time.time() + 4000


@pytest.fixture
def world():
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(instance)


def test_nothing_waits(world):
    arrive(world.ledger, "young")
    run_to_its_end(world.ledger, "young")
    arrive(world.ledger, "new")
    world.ledger.clock = lambda: time.time() + 10
    assert world.tick().skip_message.startswith("0 media assets wait")


def test_a_lost_batch_is_launched_again_with_its_keys(world):
    for name in ("a", "b", "c"):
        arrive(world.ledger, name)
    world.ledger.clock = lambda: time.time() - 4000
    world.ledger.claim("dead", "dead", ["a", "b", "c"])
    world.ledger.clock = lambda: time.time() + 4000
    result = world.tick()
    assert [one.tags[SIZE_TAG] for one in result.run_requests] == ["3"]
    (request,) = result.run_requests
    assert run_keys(request.tags, request.run_config) == ["a", "b", "c"]
    assert request.tags[LANE_TAG] == "live"
    assert world.instance.get_dynamic_partitions("media_asset") == ["a", "b", "c"]
    assert world.tick().run_requests[0].run_key == request.run_key, "asked twice, launched once"


def test_a_failed_run_is_not_overtaken_before_its_retry_is_made(world):
    arrive(world.ledger, "a")
    will_retry = {"dagster/will_retry": "true"}
    failed = dg.DagsterRun(job_name="x", status=dg.DagsterRunStatus.FAILURE, tags=will_retry)
    world.instance.add_run(failed)
    world.ledger.claim(failed.run_id, failed.run_id, ["a"])
    world.much_later()
    assert isinstance(world.tick(), dg.SkipReason), "its retry comes"
    world.instance.add_run_tags(failed.run_id, {"dagster/auto_retry_run_id": "gone"})
    assert len(world.tick().run_requests) == 1, "it came, and is gone too"


def test_a_run_that_ended_before_it_claimed_anything_is_followed_by_another(world):
    arrive(world.ledger, "a")
    world.much_later()

    def launched(status):
        (request,) = world.tick().run_requests
        run = dg.DagsterRun(
            job_name="x", status=status, tags=dict(request.tags), run_config=request.run_config
        )
        world.instance.add_run(run)
        return request.run_key

    first = launched(dg.DagsterRunStatus.FAILURE)
    second = launched(dg.DagsterRunStatus.CANCELED)
    assert (first[-2:], second[-2:]) == (":0", ":1")
    assert launched(dg.DagsterRunStatus.STARTED)[-2:] == ":2"
    assert isinstance(world.tick(), dg.SkipReason), "this one is under way"


def test_after_several_of_them_there_is_a_pause(world):
    arrive(world.ledger, "a")
    world.much_later()
    for _ in range(3):
        (request,) = world.tick().run_requests
        world.instance.add_run(
            dg.DagsterRun(job_name="x", status=dg.DagsterRunStatus.FAILURE, tags=dict(request.tags))
        )
    assert isinstance(world.tick(), dg.SkipReason)


def test_a_pause_holds_them_back(world):
    arrive(world.ledger, "a")
    world.much_later()
    world.recovery.set_flag("pause", {"paused": True}, reason="storm", who="ana")
    assert "Paused by ana" in world.tick().skip_message


def test_released_ones_go_at_once(world):
    arrive(world.ledger, "a")
    world.recovery.hold([("a", "sha256:1")], "bucket:media")
    world.recovery.set_flag("pause:bucket:media", {"paused": True}, reason="r", who="w")
    assert world.tick().skip_message.startswith("0 media assets")
    world.recovery.set_flag("pause:bucket:media", {"paused": False}, reason="r", who="w")
    assert len(world.tick().run_requests) == 1


def test_a_full_queue_is_left_alone(world):
    arrive(world.ledger, "a")
    world.much_later()
    for _ in range(SETTINGS.batch.max_in_flight_runs + 2):
        world.instance.add_run(dg.DagsterRun(job_name="x", status=dg.DagsterRunStatus.STARTED))
    assert "runs are unfinished" in world.tick().skip_message
