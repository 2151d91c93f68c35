"""Events lost on purpose, and got back: the runbook's "Recovery & Replay" on real servers."""

import json
import uuid

import pytest

from media_pipeline.cli.dagster_api import DagsterApi
from media_pipeline.domain.ports import OutgoingEvent
from media_pipeline.errors import PermanentError, SystemicError
from tests.e2e.pipeline import (
    events_of,
    lose,
    materialization,
    message,
    outcomes,
    partition_statuses,
    wait_until,
)  # fmt: skip

pytestmark = pytest.mark.timeout(420)

NAMES = [f"missed-{number}" for number in range(6)]


@pytest.fixture(scope="module")
def starts(world, dagster, samples):
    """Six media assets and an invalid message that nobody has read; where they begin."""
    for name in NAMES:
        text = f"What {name} says, on one line.".encode()
        world.object_store.upload("media", f"uploads/{name}", text, "text/plain")
    topic = world.settings.kafka.ingested_topic
    invalid = OutgoingEvent("lost-invalid", topic, b"lost-invalid", b'{"asset_id": "cut')
    found = lose(world, dagster, [*(message(name) for name in NAMES), invalid])
    assert outcomes(world, NAMES) == {}
    return [f"{number}:{offset}" for number, offset in found.items()]


def from_offsets(starts):
    return [word for start in starts for word in ("--from-offset", start)]


def test_lost_events_are_got_back_once_and_a_forced_replay_is_identical(
    world, dagster, starts, run, monkeypatch
):
    rejected = world.metadata_store.counts().rejected
    code, output = run("replay", *from_offsets(starts))
    assert code == 0
    assert "6 media assets to run" in output
    assert "not in the ledger: will be registered and run" in output
    assert "refused by the contract: dead letters" in output
    assert "estimated time" in output
    assert "Nothing was done: this is a plan." in output
    assert outcomes(world, NAMES) == {}

    # Killed after the portion was noted and before Dagster heard of it: the same replay goes on.
    with monkeypatch.context() as patched:

        def cut(*_):
            raise SystemicError("cut off", remedy="-", code="dagster_unreachable")

        patched.setattr(DagsterApi, "launch_backfill", cut)
        with pytest.raises(SystemicError, match="--resume"):
            run("replay", *from_offsets(starts), "--yes", "--wait", "--json")
    (newest, *_) = json.loads(run("replays", "--json")[1])
    assert (newest["items"], newest["ended"], newest["was_read"]) == (6, 0, True)
    code, output = run(
        "replay", "--resume", newest["replay_id"], "--yes", "--wait", "--json"
    )  # fmt: skip
    proof = json.loads(output)["proof"]
    assert code == 0, output
    assert proof == {
        "new": 6, "identical": 0, "changed": 0, "dead_lettered": 0, "superseded": 0,
        "unfinished": 0, "rejected": 1, "duplicates": 0,
    }  # fmt: skip
    assert set(outcomes(world, NAMES)) == set(NAMES)
    assert world.metadata_store.counts().rejected == rejected + 1
    assert set(NAMES) <= partition_statuses(dagster, "enrichment")["materializedPartitions"]

    code, output = run("replay", *from_offsets(starts), "--yes", "--wait", "--json")
    document = json.loads(output)
    assert (code, document["would_run"]) == (0, 0), "what is complete is left"
    assert document["counts"]["complete"] == 6
    code, output = run("replay", "--from-snapshot", "--asset", NAMES[0], "--status", "complete")
    assert (code, "1 media assets to run" in output) == (0, True)
    code, output = run("replay", "--from-snapshot", "--asset", NAMES[0], "--kind-missing", "text")
    assert (code, "nothing was found" in output) == (0, True)


def test_a_forced_replay_is_identical_and_tells_nobody_twice(world, starts, run):
    objects = set(world.object_store.list_keys("derived/"))
    rows = {one: world.metadata_store.derivatives([one]) for one in NAMES}
    code, output = run(
        "replay", *from_offsets(starts), "--force", "--yes", "--wait", "--json"
    )  # fmt: skip
    assert (code, json.loads(output)["proof"]["identical"]) == (0, 6), output
    assert json.loads(output)["proof"]["duplicates"] == 0
    assert set(world.object_store.list_keys("derived/")) == objects
    for one in NAMES:
        again = {row.kind: row.artifacts for row in world.metadata_store.derivatives([one])}
        assert again == {row.kind: row.artifacts for row in rows[one]}
    wait_until(lambda: not world.metadata_store.counts().unpublished, "the outbox")
    for name in NAMES:
        assert len(events_of(world, world.settings.kafka.enriched_topic, name)) == 1, "told once"


def test_scattered_media_assets_are_replayed_in_one_run(world, dagster, samples, run):
    """Ranges of asset partitions would make one run of each; a set has its anchor's backfill."""
    order = [key for key in dagster.partition_keys() if key in {one.asset_id for one in samples}]
    done = partition_statuses(dagster, "enrichment")["materializedPartitions"]
    poison = next(key for key in order if key not in done)
    keys = [poison, *[key for key in order if key in done][::6]]
    before = {key: materialization(dagster, "text", key)["run"] for key in keys[1:]}
    chosen = [word for key in keys for word in ("--asset", key)]
    code, output = run("replay", "--from-snapshot", *chosen, "--force", "--yes", "--wait", "--json")
    document = json.loads(output)
    assert (code, document["run"], document["proof"]["unfinished"]) == (0, len(keys), 0), output
    (backfill,) = world.replay_store.replays(document["replay_id"], 1)[0].backfills.values()
    runs = dagster.query(
        "query($i:String!){partitionBackfillOrError(backfillId:$i){... on PartitionBackfill{"
        "title status numPartitions runs(limit:9){runId}}}}",
        {"i": backfill},
    )["partitionBackfillOrError"]
    (only,) = {one["runId"] for one in runs["runs"]}
    assert f"{len(keys)} media assets in 1 sets" in runs["title"]
    after = {key: materialization(dagster, "text", key)["run"] for key in keys[1:]}
    assert {key for key in after if after[key] == only} == set(before) == set(after)
    assert poison not in partition_statuses(dagster, "enrichment")["materializedPartitions"]
    wait_until(
        lambda: dagster.backfill_statuses([backfill])[backfill].startswith("COMPLETED"), "its end"
    )


def test_bad_input_is_named_and_changes_nothing(world, starts, run):
    number, _, offset = starts[0].partition(":")
    before = len(json.loads(run("replays", "--json")[1]))
    for words, said in (
        (["--from-offset", f"{number}:99999999"], "does not exist yet; there are 0 to"),
        (["--from-offset", "77:0"], "no Kafka partition 77"),
        (["--from-time", "2999-01-01T00:00Z"], "in the future"),
        (["--from-offset", starts[0], "--to", f"{number}:{int(offset) - 1}"], "is not between"),
        (["--from-snapshot", "--asset", "nobody"], "not in the ledger: nobody"),
        (["--from-snapshot", "--status", "done"], "--status 'done' is unknown"),
        (["--resume", str(uuid.uuid4())], "has no replay"),
    ):
        with pytest.raises(PermanentError, match=said):
            run("replay", *words, "--yes")
    assert len(json.loads(run("replays", "--json")[1])) == before


def test_plans_say_that_the_intake_is_paused(starts, run):
    run("pause", "--reason", "maintenance", "--who", "ana")
    try:
        _, letters = run("dlq", "replay")
        _, events = run("replay", *from_offsets(starts), "--force")
        with pytest.raises(PermanentError, match="is not paused"):
            run("resume", "--bucket", "media")
    finally:
        run("resume", "--who", "ana")
    for said in (letters, events):
        plain = " ".join(said.split())
        assert "The intake is paused since" in plain
        assert "by ana (maintenance)" in plain


def test_a_second_operator_is_told_who_replays(world, starts, run):
    world.dead_letter_store.take_lease("event-replay", "other", "otto (pid 1)", "host-9", 60)
    try:
        with pytest.raises(SystemicError, match=r"otto \(pid 1\) on host-9 is replaying"):
            run("replay", *from_offsets(starts), "--force", "--yes")
    finally:
        world.dead_letter_store.release_lease("event-replay", "other")
