"""The runbook's "DLQ reprocessing", executed as it stands there, on real servers."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from media_pipeline.cli.main import app
from media_pipeline.contracts.dead_letter import payload_pointer, read_dead_letter
from media_pipeline.domain.dead_letters import LetterFilter
from media_pipeline.domain.ports import OutgoingEvent
from media_pipeline.errors import SystemicError, TransientError
from tests.e2e.pipeline import events_of, message, read_topic, wait_until

pytestmark = pytest.mark.timeout(420)

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = (ROOT / "deploy/runbooks/dead-letters.md").read_text()
LATE = ("late-upload-1", "late-upload-2")
LARGE = b"no json " * 120_000


@pytest.fixture(scope="module")
def poisoned(world, dagster):
    """Announced before it was uploaded, as a slow uploader does; and a very long bad message."""
    topic = world.settings.kafka.ingested_topic
    world.event_sink.publish([message(name) for name in LATE])
    world.event_sink.publish([OutgoingEvent("large", topic, b"large-1", LARGE)])

    def buried():
        letters = letters_of(world)
        long = world.dead_letter_store.letters(
            LetterFilter(stages=("contract",), codes=("malformed_json",)), None, 1000
        )
        large = [one for one in long if one.record_bytes == len(LARGE)]
        published = not world.metadata_store.counts().unpublished
        return published and len(letters) == len(LATE) and large

    (large,) = wait_until(buried, "three dead letters")
    return {**{one.asset_id: one.dlq_id for one in letters_of(world)}, "large": large.dlq_id}


@pytest.fixture
def run(stack, dagster, monkeypatch):
    """`media-pipeline dlq ...`: (exit code, standard output, the error if it ended in one)."""
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)

    def invoke(*arguments: str):
        done = CliRunner().invoke(app, ["dlq", *arguments])
        error = None if isinstance(done.exception, SystemExit) else done.exception
        return done.exit_code, done.stdout, error

    return invoke


def letters_of(world):
    return world.dead_letter_store.letters(LetterFilter(assets=LATE), None, 10)


def test_the_runbook_reprocesses_dead_letters(world, stack, poisoned, run, tmp_path):
    for name in LATE:
        text = f"The text of {name}, at last.".encode()
        world.object_store.upload("media", f"uploads/{name}", text, "text/plain")
    objects = set(world.object_store.list_keys("derived/"))
    blocks = re.findall(r"```bash\n(.*?)```", RUNBOOK, re.DOTALL)
    assert len(blocks) == 3, "export, validate, replay"
    # The one thing that the operator chooses: which ones. Other tests have letters here, too.
    script = re.sub(r'CAUSE=".*"', f'CAUSE="--asset {" --asset ".join(LATE)}"', "".join(blocks))
    environment = {**os.environ, **stack.environment()}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 dead letters, 1 cause" in done.stdout
    assert "2 dead letters in letters.jsonl" in done.stdout
    assert "2 pass; 2 marked as validated" in done.stdout
    assert "this is a dry run" in done.stdout
    assert (
        "2 new, 0 identical, 0 changed, 0 dead-lettered again, 0 unfinished;"
        " 0 duplicate objects, 0 duplicate rows" in done.stdout
    )
    for letter in letters_of(world):
        assert (letter.state, letter.replay_count) == ("replayed", 1)
        history = world.dead_letter_store.history(letter.dlq_id)
        assert [one.what for one in history] == ["buried", "validate", "replay", "enriched"]
        (state,) = world.dead_letter_store.versions([(letter.asset_id, letter.content_version)])
        assert state.status == "complete"
        made = {part.object_key for row in state.derivatives for part in row.artifacts}
        assert made <= set(world.object_store.list_keys("derived/")) - objects
    for name in LATE:
        first, second = events_of(world, world.settings.kafka.ingested_topic, name)
        assert (first.key, first.value) == (second.key, second.value)
        assert dict(second.headers)["replay.count"] == b"1"

    # A second replay changes nothing.
    before = world.topic_size(world.settings.kafka.ingested_topic)
    code, output, _ = run(
        "replay", "--from-file", str(tmp_path / "letters.jsonl"), "--yes", "--wait"
    )
    assert (code, "no message to send" in output) == (0, True)
    code, output, _ = run(
        "replay", "--id", poisoned[LATE[0]], "--yes", "--wait", "--json"
    )  # fmt: skip
    assert (code, json.loads(output)) == (
        0,
        {"yes": False, "would_send": 0, "left": {"replayed": 1}},
    )
    assert world.topic_size(world.settings.kafka.ingested_topic) == before

    # Sent once more all the same: the ledger knows the version, nothing runs.
    code, output, _ = run(
        "replay", "--id", poisoned[LATE[0]], "--again", "--yes", "--wait", "--json"
    )
    assert (code, json.loads(output)["proof"]["identical"]) == (0, 1)
    events = wait_until(
        lambda: events_of(world, world.settings.kafka.enriched_topic, LATE[0]), "the event"
    )
    assert len(events) == 1, "told once"


def test_what_is_not_mended_fails_validation_and_comes_back(world, poisoned, run):
    bad = "encrypted.pdf"
    from media_pipeline.local_stack.sample_media import generate

    sample = next(one for one in generate(40, seed=7) if one.asset_id.endswith("encrypted"))
    world.object_store.upload("media", f"uploads/{bad}", sample.data, sample.content_type)
    world.event_sink.publish([message(bad, content_type=sample.content_type)])
    wanted = LetterFilter(assets=(bad,))
    (letter,) = wait_until(
        lambda: world.dead_letter_store.letters(wanted, None, 10), "its dead letter"
    )
    code, output, _ = run("validate", "--asset", bad, "--json")
    assert (code, json.loads(output)["counts"]) == (0, {"untried": 1})
    code, output, _ = run("validate", "--asset", bad, "--process", "--json")
    found = json.loads(output)
    assert (code, found["counts"], found["marked"]) == (1, {"fail": 1}, 0)
    assert "encrypted" in found["letters"][0]["reason"]
    code, output, _ = run("replay", "--asset", bad, "--yes", "--wait", "--json")
    assert (code, json.loads(output)["proof"]["dead_lettered"]) == (0, 1)
    (again,) = world.dead_letter_store.letters(wanted, None, 10)
    assert (again.dlq_id, again.state, again.replay_count) == (letter.dlq_id, "open", 1)
    code, output, _ = run("discard", "--asset", bad, "--reason", "asked the uploader", "--yes")
    assert (code, output) == (0, "1 of 1 dead letters are discarded\n")
    assert world.dead_letter_store.history(letter.dlq_id)[-1].reason == "asked the uploader"


def test_a_dead_letter_too_large_for_the_topic_keeps_its_bytes(world, poisoned, run):
    dead = [read_dead_letter(one) for one in read_topic(world, "media.processing.dlq")]
    (large,) = [one for one in dead if one.headers["dlq.id"] == poisoned["large"]]
    assert large.original.value is None
    assert world.object_store.get(payload_pointer(large).object_key) == LARGE
    code, output, _ = run("show", poisoned["large"], "--source", "topic")
    assert code == 0
    assert f"value, {len(LARGE)} bytes" in output
    assert "no json no json" in output


def test_the_second_operator_is_told_who_is_first(world, poisoned, run):
    from media_pipeline.cli.dlq_sender import LEASE

    store = world.dead_letter_store
    assert store.take_lease(LEASE, "token", "anna (pid 1)", "host-1", 60).granted
    try:
        code, _, error = run("replay", "--id", poisoned["large"], "--yes")
        assert (code, isinstance(error, SystemicError)) == (1, True)
        assert "anna (pid 1) on host-1 is replaying dead letters since" in str(error)
    finally:
        store.release_lease(LEASE, "token")


def test_unknown_ids_are_named_and_nothing_is_done(world, poisoned, run):
    nobody = "00000000-0000-5000-8000-000000000000"
    before = world.topic_size(world.settings.kafka.ingested_topic)
    for command in (["replay", "--yes"], ["discard", "--yes", "--reason", "x"], ["validate"]):
        _, _, error = run(*command, "--id", poisoned["large"], "--id", nobody)
        assert f"1 of 2 ids are not in the ledger: {nobody}. Nothing was done." in str(error)
    assert world.topic_size(world.settings.kafka.ingested_topic) == before
    (large,) = world.dead_letter_store.letters(
        LetterFilter(ids=frozenset({poisoned["large"]})), None, 1
    )
    assert large.state == "open"


def test_without_the_ledger_the_topic_serves(world, poisoned, run, monkeypatch, tmp_path):
    monkeypatch.setenv("MEDIA_PIPELINE_LEDGER__URL", "http://127.0.0.1:1")
    code, output, _ = run("list", "--json")
    found = json.loads(output)
    assert (code, found["source"]) == (0, "topic")
    assert poisoned["large"] in {one for group in found["groups"] for one in group["samples"]}
    _, _, error = run("replay", "--id", poisoned["large"], "--yes")
    assert "nothing would remember what was sent" in str(error)
    journal = str(tmp_path / "sent")
    for sent in (1, 0):
        code, output, _ = run(
            "replay", "--id", poisoned["large"], "--yes", "--journal", journal, "--json"
        )
        assert (code, json.loads(output).get("sent", 0)) == (0, sent)
    _, _, error = run("discard", "--id", poisoned["large"], "--reason", "x")
    assert isinstance(error, SystemicError)
    assert "the ledger cannot be used" in str(error)


def test_without_kafka_the_ledger_serves_and_a_replay_says_why_not(
    world, poisoned, run, monkeypatch, tmp_path
):
    monkeypatch.setenv("MEDIA_PIPELINE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("MEDIA_PIPELINE_KAFKA__REQUEST_TIMEOUT_SECONDS", "0.5")
    letter = poisoned[LATE[0]]
    code, output, _ = run("show", letter)
    assert (code, "in the ledger: complete" in output) == (0, True)
    assert run("export", str(tmp_path / "x.jsonl"), "--id", letter)[0] == 0
    _, _, error = run("replay", "--id", letter, "--again", "--yes")
    assert isinstance(error, TransientError)
    assert "0 messages were sent before this" in str(error)


def test_the_script_of_the_runbook_is_the_same_command(stack, dagster):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/replay_dlq.py", "list", "--code", "none-such"],
        env={**os.environ, **stack.environment()}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "no dead letters\n")
