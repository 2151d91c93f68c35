"""Two code locations on one ledger: whatever happens to the share, each media asset runs once."""

import itertools
import json
import time

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_pipeline.batch_tags import BACKFILL_TAG, CANARY_TAG, RANGE_START_TAG, run_keys
from media_pipeline.domain.identity import in_share
from media_pipeline.errors import SystemicError
from media_pipeline.jobs import ENRICH_MEDIA_JOB
from media_pipeline.run_retries import systemic_errors_stop_retries
from media_pipeline.settings import BatchSettings, CanarySettings, Settings
from sensors import gate, media_events, stragglers
from sensors.canary import is_ours, left_to_others
from tests.fakes.event_log import FakeEventLog
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.recovery_store import FakeRecoveryStore

TOPIC = "media.ingested.v1"
BATCH = BatchSettings(min_keys=2, max_keys=5, max_in_flight_runs=1000)
shares = st.sampled_from([0, 1, 10, 35, 50, 90, 100])


class Healthy:
    def probe(self): ...


class World:
    """Main and candidate: their settings, and what either launched."""

    def __init__(self, instance):
        self.instance = instance
        self.log = FakeEventLog()
        self.log.create(TOPIC, 3)
        self.ledger = FakeMetadataStore()
        self.recovery = FakeRecoveryStore(self.ledger)
        self.cursor = None
        self.main = self.candidate = 0  # shares that they were started with
        self.sent: list[str] = []
        self.launched: list[tuple[str, bool]] = []  # asset id, by the candidate
        self.unclaimed: list[dg.DagsterRun] = []

    def send(self, count):
        for number in range(len(self.sent), len(self.sent) + count):
            name = f"asset-{number}"
            message = {
                "event_id": name, "occurred_at": "t", "asset_id": name, "bucket": "media",
                "object_key": "k", "etag": "1",
            }  # fmt: skip
            self.log.append(TOPIC, number % 3, name.encode(), json.dumps(message).encode())
            self.sent.append(name)

    def of(self, *, candidate):
        share = self.candidate if candidate else self.main
        return Settings(batch=BATCH, canary=CanarySettings(share=share, candidate=candidate))

    def read_topic(self):
        """The tick of main's `media_events_sensor`."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = media_events.evaluate(
            context, self.log, self.ledger, self.recovery, gate.Gate(), self.of(candidate=False)
        )
        if isinstance(result, dg.SensorResult):
            self.cursor = result.cursor
            self.launch(result.run_requests)

    def look(self, *, candidate):
        """The tick of main's `stragglers_sensor`, or of the candidate's `canary_sensor`."""
        context = dg.build_sensor_context(instance=self.instance)
        result = stragglers.evaluate(
            context, self.recovery, Healthy(), self.of(candidate=candidate)
        )
        if isinstance(result, dg.SensorResult):
            self.launch(result.run_requests)
            return result.run_requests
        return []

    def launch(self, requests):
        for request in requests or []:
            run = dg.DagsterRun(
                job_name=ENRICH_MEDIA_JOB, status=dg.DagsterRunStatus.STARTED,
                tags=dict(request.tags), run_config=request.run_config,
            )  # fmt: skip
            self.instance.add_run(run)
            self.unclaimed.append(run)
            self.launched += [(key, CANARY_TAG in request.tags) for key in self.keys_of(run)]

    def keys_of(self, run) -> list[str]:
        keys = run_keys(run.tags, run.run_config)
        if RANGE_START_TAG not in run.tags:
            return keys
        known = list(self.instance.get_dynamic_partitions("media_asset"))
        return known[known.index(keys[0]) : known.index(keys[-1]) + 1]

    def claim(self):
        """Runs that were launched begin."""
        for run in self.unclaimed:
            self.ledger.claim(run.run_id, run.run_id, self.keys_of(run))
        self.unclaimed = []


@pytest.fixture(scope="module")
def instance():
    with dg.DagsterInstance.ephemeral() as one:
        yield one


@pytest.fixture
def world(instance):
    instance.wipe()
    return World(instance)


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=20), shares, shares)
def test_shares_are_disjoint_and_complete_and_grow_by_addition(name, share, larger):
    owners = [candidate for candidate in (False, True)
              if is_ours(name, CanarySettings(share=share, candidate=candidate))]  # fmt: skip
    assert len(owners) == 1
    if in_share(name, min(share, larger)):
        assert in_share(name, max(share, larger))


def test_nobody_is_a_candidates_without_a_share():
    assert is_ours("a", CanarySettings())
    assert not is_ours("a", CanarySettings(candidate=True))
    assert is_ours("a", CanarySettings(share=100, candidate=True))
    assert left_to_others(CanarySettings()) == []
    assert left_to_others(CanarySettings(share=5)) == ["canary:5"], "not read by main every tick"
    assert left_to_others(CanarySettings(share=5, candidate=True)) == []


steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 12)),
        st.tuples(st.just("main restarts"), shares),
        st.tuples(st.just("candidate restarts"), shares),
        st.sampled_from([("reads",), ("main looks",), ("candidate looks",), ("runs begin",)]),
    ),
    min_size=6,
    max_size=16,
)


@settings(max_examples=25, deadline=None)
@given(steps)
def test_each_media_asset_is_launched_once_however_the_share_moves(instance, story):
    """Both may be restarted with another share at any moment, one long before the other, and
    runs may begin late. In the end the candidate is dropped."""
    instance.wipe()
    world = World(instance)
    for step, *given_ in story:
        match step:
            case "send":
                world.send(*given_)
            case "main restarts":
                (world.main,) = given_
            case "candidate restarts":
                (world.candidate,) = given_
            case "reads":
                world.read_topic()
            case "main looks":
                world.look(candidate=False)
            case "candidate looks":
                world.look(candidate=True)
            case "runs begin":
                world.claim()
    world.main = 0
    world.read_topic()
    world.look(candidate=False)
    assert sorted(name for name, _ in world.launched) == sorted(world.sent)
    world.claim()
    assert not world.look(candidate=False)
    assert {row.held_for for row in world.ledger.rows.values()} <= {None}


def test_a_candidate_is_judged_and_promoted_without_a_gap(world):
    world.send(20)
    world.read_topic()
    world.main = world.candidate = 40
    world.send(40)
    world.read_topic()
    assert {name for name, by_candidate in world.launched if by_candidate} == set()
    (*requests,) = world.look(candidate=True)
    assert all(CANARY_TAG in one.tags and BACKFILL_TAG not in one.tags for one in requests)
    mine = {name for name, by_candidate in world.launched if by_candidate}
    assert mine == {name for name in world.sent[20:] if in_share(name, 40)}
    world.send(20)
    world.read_topic()
    world.main = 0  # promoted or dropped: the candidate's code location is gone
    world.look(candidate=False)
    assert sorted(name for name, _ in world.launched) == sorted(world.sent)


@pytest.mark.parametrize(("before", "after"), [(60, 20), (20, 60)])
def test_a_share_that_moves_gives_each_what_is_its_own_at_once(world, before, after):
    world.main = world.candidate = before
    world.send(50)
    world.read_topic()
    world.main = world.candidate = after
    world.look(candidate=False)
    world.look(candidate=True)
    assert sorted(name for name, _ in world.launched) == sorted(world.sent)
    mine = {name for name, by_candidate in world.launched if by_candidate}
    assert mine == {name for name in world.sent if in_share(name, min(before, after))}


def test_what_the_candidates_runs_lose_is_the_candidates_until_it_goes(world):
    world.main = world.candidate = 100
    world.send(3)
    world.read_topic()
    world.look(candidate=True)
    world.claim()
    for record in world.instance.get_run_records():
        world.instance.report_run_failed(record.dagster_run)
    now = time.time()
    world.ledger.clock = lambda: now + 4000
    assert world.look(candidate=False) == []
    assert len(world.look(candidate=True)) == 1
    world.main = 0
    assert world.look(candidate=False) == [], "its run lives"
    for record in world.instance.get_run_records():
        world.instance.report_run_canceled(record.dagster_run)
    assert len(world.look(candidate=False)) == 1


def test_when_both_take_it_at_once_the_ledger_keeps_one(world, monkeypatch):
    """The one moment that nobody can exclude: two ticks at the same time, after a drop."""
    world.main = world.candidate = 100
    world.send(1)
    world.read_topic()
    world.main = 0
    with monkeypatch.context() as blind:  # neither sees the other's run yet
        blind.setattr(world.instance, "get_run_records", lambda *_, **__: [])
        world.look(candidate=False)
        world.look(candidate=True)
    assert world.launched == [("asset-0", False), ("asset-0", True)]
    claims = [world.ledger.claim(run.run_id, run.run_id, ["asset-0"]) for run in world.unclaimed]
    fences = [one.fence for (one,) in claims]
    assert fences == [1, 2]
    row = world.ledger.rows["asset-0", "etag:1"]
    assert row.run_id == world.unclaimed[1].run_id, "what the first records is refused as stale"


def test_a_candidate_that_stops_rests_and_main_goes_on(world):
    world.main = world.candidate = 50
    world.send(10)
    world.read_topic()
    world.look(candidate=True)
    stopped = next(run for run in world.unclaimed if CANARY_TAG in run.tags)
    with (
        pytest.raises(SystemicError),
        systemic_errors_stop_retries(world.instance, stopped.run_id),
    ):
        raise SystemicError("no model.", remedy="import it.", code="model_missing")
    world.instance.report_run_failed(world.instance.get_run_by_id(stopped.run_id))
    context = dg.build_sensor_context(instance=world.instance)
    said = stragglers.evaluate(context, world.recovery, Healthy(), world.of(candidate=True))
    assert "no model." in said.skip_message
    assert "MEDIA_PIPELINE_CANARY__SHARE=0" in said.skip_message
    look = gate.look(world.instance, world.recovery, Healthy())
    assert not look.closed
    assert not world.recovery.breakers


def test_a_candidate_takes_no_bucket_that_is_paused(world):
    world.main = world.candidate = 100
    world.send(2)
    world.read_topic()
    world.ledger.rows["asset-0", "etag:1"].held_for = "bucket:media"
    world.recovery.set_flag("pause:bucket:media", {"paused": True}, reason="r", who="w")
    world.look(candidate=True)
    assert world.launched == [("asset-1", True)]
    world.recovery.set_flag("pause:bucket:media", {"paused": False}, reason="r", who="w")
    world.look(candidate=False)
    assert world.launched == [("asset-1", True)]
    world.look(candidate=True)
    assert world.launched == [("asset-1", True), ("asset-0", True)]


def test_a_candidate_counts_in_the_same_queue(world):
    world.main = world.candidate = 100
    world.send(2)
    world.read_topic()
    few = world.of(candidate=True).model_copy(
        update={"batch": BATCH.model_copy(update={"max_in_flight_runs": 1})}
    )
    for _ in itertools.repeat(None, 3):
        world.instance.add_run(
            dg.DagsterRun(job_name=ENRICH_MEDIA_JOB, status=dg.DagsterRunStatus.STARTED)
        )
    context = dg.build_sensor_context(instance=world.instance)
    said = stragglers.evaluate(context, world.recovery, Healthy(), few)
    assert "runs are unfinished" in said.skip_message
