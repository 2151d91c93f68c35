"""One tick after another: which runs are asked for, what is dead-lettered, what is refused."""

import json

import dagster as dg
import pytest

from media_pipeline.batch_tags import (
    DIGEST_TAG,
    LANE_TAG,
    PARTITION_TAG,
    POD_TAG,
    PRIORITY_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    SIZE_TAG,
    run_keys,
)
from media_pipeline.domain.identity import batch_digest, in_share
from media_pipeline.errors import SystemicError
from media_pipeline.jobs import ENRICH_MEDIA_JOB
from media_pipeline.settings import BatchSettings, CanarySettings, RunSettings, Settings
from sensors.gate import Gate
from sensors.media_events import evaluate
from tests.fakes.event_log import FakeEventLog
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.recovery_store import FakeRecoveryStore

TOPIC = "media.ingested.v1"
SETTINGS = Settings(batch=BatchSettings(min_keys=2, max_keys=10, assumed_seconds_per_asset=6))


class World:
    """A topic of three Kafka partitions, a ledger, a Dagster instance and a cursor."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.log = FakeEventLog()
        self.log.create(TOPIC, 3)
        self.ledger = FakeMetadataStore()
        self.recovery = FakeRecoveryStore(self.ledger)
        self.gate = Gate()
        self.cursor: str | None = None

    def send(self, asset_id: str, version: str = "1", **fields) -> None:
        message = {
            "event_id": f"{asset_id}-{version}", "occurred_at": "t", "asset_id": asset_id,
            "bucket": "media", "object_key": "k", "etag": version, **fields,
        }  # fmt: skip
        self.send_bytes(asset_id, json.dumps(message).encode())

    def send_bytes(self, key: str, value: bytes) -> None:
        self.log.append(TOPIC, len(key) % 3, key.encode(), value)

    def tick(self, *, persist: bool = True, settings: Settings = SETTINGS):
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = evaluate(context, self.log, self.ledger, self.recovery, self.gate, settings)
        if persist and isinstance(result, dg.SensorResult):
            self.cursor = result.cursor
        return result

    def keys(self) -> list[str]:
        return list(self.instance.get_dynamic_partitions("media_asset"))


@pytest.fixture
def world():
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(instance)


def test_an_empty_topic_says_position_and_lag(world):
    result = world.tick()
    assert isinstance(result, dg.SkipReason)
    assert "0@0, 1@0, 2@0; lag 0" in result.skip_message


def test_new_assets_become_one_range_run(world):
    for name in ("a", "bb", "ccc"):
        world.send(name)
    (request,) = world.tick().run_requests
    keys = world.keys()
    assert sorted(keys) == ["a", "bb", "ccc"]
    assert (request.tags[RANGE_START_TAG], request.tags[RANGE_END_TAG]) == (keys[0], keys[-1])
    assert (request.tags[DIGEST_TAG], request.tags[SIZE_TAG]) == (batch_digest(keys), "3")
    assert request.tags[LANE_TAG] == "live"
    assert request.run_config == {}
    assert isinstance(world.tick(), dg.SkipReason)


def test_a_large_backlog_becomes_even_contiguous_ranges(world):
    for number in range(25):
        world.send(f"asset-{number:02d}")
    requests = world.tick().run_requests
    keys = world.keys()
    sizes = [int(request.tags[SIZE_TAG]) for request in requests]
    assert sizes == [9, 9, 7]
    start = 0
    for request, size in zip(requests, sizes, strict=True):
        assert request.tags[DIGEST_TAG] == batch_digest(keys[start : start + size])
        start += size
    assert len({request.run_key for request in requests}) == 3


def test_a_tick_that_died_is_repeated_with_the_same_run_keys_and_no_second_key(world):
    for name in ("a", "bb"):
        world.send(name)
    first = world.tick(persist=False)
    second = world.tick()
    assert world.keys() == ["bb", "a"] or world.keys() == ["a", "bb"]
    # The repeated tick cannot know whether the keys were added: it names them one by one.
    (request,) = second.run_requests
    assert sorted(run_keys(request.tags, request.run_config)) == [
        "a",
        "bb",
    ]
    covered = [one.run_key.split("#")[0] for one in (first.run_requests[0], request)]
    assert covered[0] == covered[1]


def test_a_redelivery_is_recognised(world):
    world.send("a")
    world.tick()
    world.send("a")
    result = world.tick()
    assert result.run_requests in ([], None)
    assert "1 duplicates" in result.skip_reason.skip_message
    assert json.loads(world.cursor)["positions"][TOPIC]["1"] == 2


def test_the_same_version_twice_in_one_tick_is_one(world):
    world.send("a")
    world.send("a")
    (request,) = world.tick().run_requests
    assert request.tags[SIZE_TAG] == "1"


def test_two_versions_in_one_tick_go_to_two_runs(world):
    world.send("a", "1")
    world.send("a", "2")
    world.send("b", "1")
    first, second = world.tick().run_requests
    assert (first.tags[SIZE_TAG], RANGE_START_TAG in first.tags) == ("2", True)
    assert run_keys(second.tags, second.run_config) == ["a"]
    assert second.tags[PARTITION_TAG] == "a"


def test_an_asset_ingested_again_goes_as_a_set_run(world):
    world.send("a")
    world.tick()
    world.send("a", "2")
    world.send("b")
    fresh, again = world.tick().run_requests
    assert fresh.tags[RANGE_START_TAG] == "b"
    assert run_keys(again.tags, again.run_config) == ["a"]


def test_invalid_messages_are_dead_lettered_and_passed(world):
    world.send("a")
    world.send_bytes("x", b'{"cut')
    result = world.tick()
    assert len(result.run_requests) == 1
    (event,) = world.ledger.unpublished(10)
    assert event.payload == b'{"cut'
    assert isinstance(world.tick(), dg.SkipReason)


def test_a_tick_of_invalid_messages_alone_moves_on(world):
    world.send_bytes("x", b"nonsense")
    result = world.tick()
    assert "1 rejected" in result.skip_reason.skip_message
    assert isinstance(world.tick(), dg.SkipReason)
    assert world.ledger.counts().rejected == 1


def test_a_bad_producer_stops_the_sensor_and_nothing_is_lost(world):
    for number in range(30):
        world.send_bytes(f"x{number}", b"nonsense")
    with pytest.raises(SystemicError) as caught:
        world.tick()
    assert caught.value.code == "invalid_ratio"
    assert "30 of 30" in str(caught.value)
    assert (world.ledger.counts().rejected, world.cursor) == (0, None)
    # Raising the limit dead-letters them after all.
    lenient = Settings(batch=BatchSettings(max_invalid_ratio=1.0))
    world.tick(settings=lenient)
    assert world.ledger.counts().rejected == 30


def test_the_persisted_cursor_is_mirrored_on_the_next_tick(world):
    world.send("a")
    world.tick()
    assert TOPIC not in world.log.group_offsets
    world.tick()
    assert world.log.group_offsets[TOPIC] == {0: 0, 1: 1, 2: 0}
    world.log.refuse_commits = True
    world.send("b")
    assert len(world.tick().run_requests) == 1


def test_too_many_unfinished_runs_leave_the_backlog_in_the_topic(world):
    settings = Settings(batch=BatchSettings(max_in_flight_runs=1))
    world.instance.add_run(
        dg.DagsterRun(job_name=ENRICH_MEDIA_JOB, status=dg.DagsterRunStatus.STARTED)
    )
    world.send("a")
    world.send("b")
    result = world.tick(settings=settings)
    assert isinstance(result, dg.SkipReason)
    assert "1 runs are unfinished" in result.skip_message
    assert "2 wait" in result.skip_message
    assert world.keys() == []


def test_backfill_messages_take_the_slow_lane(world):
    world.send("a", priority="backfill")
    (request,) = world.tick().run_requests
    assert request.tags[LANE_TAG] == "backfill"
    assert int(request.tags[PRIORITY_TAG]) < 0
    assert POD_TAG not in request.tags


def test_the_share_of_a_candidate_is_held_for_it(world):
    settings = SETTINGS.model_copy(update={"canary": CanarySettings(share=30)})
    names = [f"asset-{number}" for number in range(60)]
    for name in names:
        world.send(name)
    world.send_bytes("not-json", b"{")
    launched = sum(int(one.tags[SIZE_TAG]) for one in world.tick(settings=settings).run_requests)
    held = [row.arrival.asset.asset_id for row in world.ledger.rows.values() if row.held_for]
    assert len(held) + launched == 60
    assert held == [name for name in names if in_share(name, 30)]
    assert {row.held_for for row in world.ledger.rows.values()} == {None, "canary:30"}
    assert set(world.keys()) == set(names), "the candidate adds no key of its own"
    assert world.ledger.counts().rejected == 1, "invalid messages are nobody else's"


def test_a_lane_with_a_priority_class_gives_it_to_its_pods(world):
    classes = RunSettings(priority_classes={"backfill": "media-backfill"})
    world.send("a", priority="backfill")
    (request,) = world.tick(settings=Settings(runs=classes)).run_requests
    pod = json.loads(request.tags[POD_TAG])["pod_spec_config"]
    assert pod == {"priority_class_name": "media-backfill"}


def test_lost_offsets_stop_the_sensor(world):
    world.send("a")
    world.tick()
    world.send("a", "2")
    world.log.expire(TOPIC, 1, 2)
    with pytest.raises(SystemicError) as caught:
        world.tick()
    assert caught.value.code == "offset_out_of_range"


def test_a_tick_reads_a_bounded_number(world):
    settings = Settings(batch=BatchSettings(max_messages_per_tick=10))
    for number in range(25):
        world.send(f"a{number}")
    sizes = []
    while not isinstance(result := world.tick(settings=settings), dg.SkipReason):
        sizes.append(sum(int(one.tags[SIZE_TAG]) for one in result.run_requests))
    assert sizes == [10, 10, 5]


def test_a_closed_gate_takes_nothing_and_says_what_waits(world):
    world.send("a")
    world.send("b")
    world.gate = Gate("Paused by ana since then: storm.")
    result = world.tick()
    assert result.skip_message == (
        "Paused by ana since then: storm. No messages taken, 2 wait in media.ingested.v1."
    )
    assert (world.keys(), world.ledger.rows, world.cursor) == ([], {}, None)
    world.gate = Gate()
    assert world.tick().run_requests[0].tags[SIZE_TAG] == "2"


def test_a_trial_takes_a_small_batch_and_no_second_one(world):
    for number in range(25):
        world.send(f"a{number}")
    world.gate = Gate(trial=True)
    (request,) = world.tick().run_requests
    assert request.tags[SIZE_TAG] == str(SETTINGS.batch.min_keys)
    world.instance.add_run(
        dg.DagsterRun(job_name=ENRICH_MEDIA_JOB, status=dg.DagsterRunStatus.STARTED)
    )
    assert "on trial" in world.tick().skip_message


def test_a_paused_bucket_is_held_and_others_pass(world):
    settings = SETTINGS.model_copy(
        update={
            "object_store": SETTINGS.object_store.model_copy(
                update={"allowed_buckets": ("media", "scans")}
            )
        }
    )
    world.send("a")
    world.send("b", bucket="scans")
    world.send("b", "2", bucket="scans")
    world.gate = Gate(paused_buckets=frozenset({"scans"}))
    (request,) = world.tick(settings=settings).run_requests
    assert request.tags[RANGE_START_TAG] == "a"
    assert world.keys() == ["a"]
    held = {row.arrival.asset.asset_id: row.held_for for row in world.ledger.rows.values()}
    assert held == {"a": None, "b": "bucket:scans"}
    released = world.recovery.waiting([], 3600, 10)
    assert [(one.asset_id, one.content_version) for one in released] == [
        ("b", "etag:1"), ("b", "etag:2"),
    ]  # fmt: skip
