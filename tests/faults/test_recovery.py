"""Pauses, breakers and files that kill runs, on real servers: nothing is taken too early, nothing
is lost, and what was stopped goes on by itself."""

import io
import re

import psycopg
import pytest
from minio import Minio

from media_pipeline.cli.producer import announce, upload
from media_pipeline.crash_points import KILLED
from media_pipeline.domain.outcome import Code
from media_pipeline.domain.ports import OutgoingEvent
from tests.faults.checker import Facts, violations
from tests.faults.children import OneProcess

pytestmark = pytest.mark.timeout(600)
NEW_BUCKET = "late"


def note(world, name: str) -> None:
    announce(world, [upload(world, name, f"{name}.txt", f"Note {name}.".encode(), "text/plain")])


def with_keys_for_every_bucket(stack, environment: dict[str, str]) -> dict[str, str]:
    """The workload's own identity would be refused a bucket that it was not told of."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith("MEDIA_PIPELINE_VAULT__") and not name.endswith("STS_ROLE_ARN")
    }
    return kept | {
        "MEDIA_PIPELINE_OBJECT_STORE__ACCESS_KEY": stack.s3_access_key,
        "MEDIA_PIPELINE_OBJECT_STORE__SECRET_KEY": stack.s3_secret_key,
        "MEDIA_PIPELINE_LEDGER__TOKEN": stack.ledger_token,
    }


def row(world, name: str):
    (found,) = world.metadata_store.derivatives([name])
    return found


def an_hour_passes(stack, prefix: str) -> None:
    """For breakers, and for the claims of media assets of that prefix."""
    with psycopg.connect(stack.postgres_dsn) as database:
        database.execute("update media.breaker set retry_at = retry_at - interval '1 hour'")
        database.execute(
            "update media.media_asset set claimed_at = claimed_at - interval '1 hour'"
            " where asset_id like %s",
            [f"{prefix}%"],
        )


def ends(stack, world, prefix: str, names) -> dict[str, str]:
    facts = Facts(world, stack.postgres_dsn, prefix)
    assert violations(facts, names) == []
    return {one["asset_id"]: one["status"] for one in facts.versions}


def test_a_pause_of_all_leaves_messages_in_the_topic(stack, world, children):
    store = world.recovery_store
    store.set_flag("pause", {"paused": True}, reason="maintenance", who="ana")
    note(world, "pause-a")
    assert children.run() == 0, children.said()
    assert world.metadata_store.derivatives(["pause-a"]) == []
    assert "Paused by ana" in children.skipped("media_events_sensor")
    store.set_flag("pause", {"paused": False}, reason="over", who="ana")
    assert children.run() == 0, children.said()
    assert ends(stack, world, "pause-", ["pause-a"]) == {"pause-a": "complete"}


def test_a_paused_workload_is_left_out_and_found_again(stack, world, children):
    store = world.recovery_store
    store.set_flag("pause:workload:text", {"paused": True}, reason="bad release", who="ana")
    note(world, "workload-a")
    assert children.run() == 0, children.said()
    store.set_flag("pause:workload:text", {"paused": False}, reason="over", who="ana")
    found = row(world, "workload-a")
    assert (found.code, found.message) == (Code.DEFERRED, "text is paused by ana: bad release")
    assert ends(stack, world, "workload-", ["workload-a"]) == {"workload-a": "partial"}
    stale = world.metadata_store.stale({"text": "current"}, None, 1000)
    assert ("workload-a", "deferred") in [(one.asset_id, one.fingerprint) for one in stale]


def test_a_paused_bucket_is_held_and_follows_its_resume(stack, world, children):
    store = world.recovery_store
    store.set_flag("pause:bucket:media", {"paused": True}, reason="re-upload", who="ana")
    note(world, "bucket-a")
    assert children.run() == 0, children.said()
    assert "1 held for bucket:media" in children.skipped("media_events_sensor")
    assert world.metadata_store.derivatives(["bucket-a"]) == []
    store.set_flag("pause:bucket:media", {"paused": False}, reason="over", who="ana")
    assert children.run() == 0, children.said()
    assert ends(stack, world, "bucket-", ["bucket-a"]) == {"bucket-a": "complete"}


def test_a_missing_bucket_opens_the_breaker_and_its_return_closes_it(stack, world, tmp_path):
    children = OneProcess(stack, tmp_path)
    children.environment = with_keys_for_every_bucket(stack, children.environment) | {
        "MEDIA_PIPELINE_OBJECT_STORE__ALLOWED_BUCKETS": f'["media","{NEW_BUCKET}"]'
    }
    client = Minio(
        endpoint=stack.s3_endpoint, access_key=stack.s3_access_key, secure=False,
        secret_key=stack.s3_secret_key, region="us-east-1",
    )  # fmt: skip
    try:
        body = (
            '{"event_id":"e","occurred_at":"t","asset_id":"breaker-lost","bucket":"late",'
            '"object_key":"lost.txt"}'
        )
        topic = world.settings.kafka.ingested_topic
        world.event_sink.publish([OutgoingEvent("e", topic, b"breaker-lost", body.encode())])
        assert children.run() == 0, children.said()
        (breaker,) = world.recovery_store.controls().breakers
        assert (breaker.code, breaker.state) == ("bucket_missing", "open")
        assert "Remedy: create it" in breaker.message
        note(world, "breaker-later")
        assert children.run() == 0, children.said()
        assert "Breaker bucket_missing is open" in children.skipped("media_events_sensor")
        assert world.metadata_store.derivatives(["breaker-later"]) == []

        client.make_bucket(bucket_name=NEW_BUCKET)
        data = b"Note breaker-lost."
        client.put_object(
            bucket_name=NEW_BUCKET, object_name="lost.txt",
            data=io.BytesIO(data), length=len(data), content_type="text/plain",
        )  # fmt: skip
        an_hour_passes(stack, "breaker-")
        assert children.run() == 0, children.said()
        assert world.recovery_store.controls().breakers == ()
        names = ["breaker-lost", "breaker-later"]
        assert ends(stack, world, "breaker-", names) == dict.fromkeys(names, "complete")
    finally:
        children.close()


def test_a_file_that_kills_runs_ends_as_crash_and_takes_nobody_along(stack, world, children):
    names = ["killer-a", "killer-b", "killer-c"]
    for name in names:
        note(world, name)
    assert children.run("metadata_store.claim:after") == KILLED, children.said()
    for _ in range(3):
        # The first file of the batch is in the cage when the process dies. The first of these
        # batches is in the order of the topic, the others in that of the ledger.
        assert children.run("recovery_store.enter_cage:after") == KILLED, children.said()
        an_hour_passes(stack, "killer-")
    assert children.run() == 0, children.said()
    found = ends(stack, world, "killer-", names)
    assert sorted(found.values()) == ["complete", "complete", "dead_lettered"]
    (dead,) = [name for name, status in found.items() if status == "dead_lettered"]
    assert row(world, dead).code is Code.CRASH
    assert re.match(r"4 runs in a row died, [23] of them with this file", row(world, dead).message)
