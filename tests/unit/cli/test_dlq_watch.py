from dataclasses import replace

import pytest

from media_pipeline.cli.dlq_source import LedgerSource
from media_pipeline.cli.dlq_watch import Watch
from media_pipeline.dead_letters.replay_plan import replay_event
from media_pipeline.domain.dead_letters import LetterFilter
from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.ports import RejectedMessage
from tests.fakes.dead_letter_store import FakeDeadLetterStore
from tests.fakes.ledger_story import OFFSETS, TOPIC, VERSION, arrive, bury, record_of, run
from tests.fakes.metadata_store import FakeMetadataStore


class Scene:
    def __init__(self) -> None:
        self.ledger = FakeMetadataStore()
        self.store = FakeDeadLetterStore(self.ledger)
        self.watch = Watch(self.store, "replay-1", ["media"])

    def letters(self):
        return list(LedgerSource(self.store, "test").letters(LetterFilter(), records=True))

    def resend(self, letter):
        """The message as the intake reads it."""
        event = replay_event(letter, letter.record, "replay-1", TOPIC)
        return MessageRecord(TOPIC, 2, next(OFFSETS), 1, event.key, event.payload, event.headers)


@pytest.fixture
def scene():
    return Scene()


def test_it_waits_for_the_new_end_and_not_for_the_old_one(scene):
    for name in ("good", "bad", "slow"):
        bury(scene.ledger, name)
    letters = {one.asset_id: one for one in scene.letters()}
    scene.watch.note(list(letters.values()))
    looks = []

    def pipeline(seconds):
        """What happens between two looks."""
        looks.append(seconds)
        if len(looks) == 1:
            for name in ("good", "bad"):
                arrive(scene.ledger, name, record=scene.resend(letters[name]))
            run(scene.ledger, "good")
        elif len(looks) == 2:
            run(scene.ledger, "bad", "invalid")
        return len(looks) == 4

    proof, refused = scene.watch.wait(60, pipeline)
    assert proof.new == (("good", VERSION),)
    assert proof.dead_lettered == (("bad", VERSION),)
    assert proof.unfinished == (("slow", VERSION),), "dead-lettered before, not anew"
    assert (proof.holds, refused) == (True, 0)


def test_a_version_that_was_enriched_meanwhile_is_identical(scene):
    bury(scene.ledger, "a")
    run(scene.ledger, "a")
    scene.watch.note(scene.letters())
    proof, _ = scene.watch.wait(60, lambda _: False)
    assert proof.identical == (("a", VERSION),)


def test_messages_that_the_contract_refuses_are_counted_when_they_are_back(scene):
    bad = record_of("x", value=b"no json")
    scene.ledger.reject([RejectedMessage(bad, "contract", "malformed_json", "no")], "1")
    letters = scene.letters()
    scene.watch.note(letters)
    assert scene.watch.refusals_expected == 1

    def pipeline(seconds):
        again = RejectedMessage(scene.resend(letters[0]), "contract", "malformed_json", "no")
        scene.ledger.reject([again], "1")
        return False

    proof, refused = scene.watch.wait(60, pipeline)
    assert refused == 1
    assert sum(proof.counts().values()) == 0


def test_messages_that_the_contract_takes_now_are_followed(scene):
    value = (
        b'{"event_id":"e","occurred_at":"2026-01-01T00:00:00Z","asset_id":"late",'
        b'"bucket":"media","object_key":"k"}'
    )
    refused = record_of("late", value=value)
    scene.ledger.reject([RejectedMessage(refused, "contract", "bucket_not_allowed", "no")], "1")
    (letter,) = scene.letters()
    scene.watch.note([letter])

    def pipeline(seconds):
        arrive(scene.ledger, "late", record=scene.resend(letter), version="event:e")
        run(scene.ledger, "late")
        return False

    proof, _ = scene.watch.wait(60, pipeline)
    assert proof.new == (("late", "event:e"),)


def test_an_object_that_moved_is_found_out(scene):
    bury(scene.ledger, "a")
    run(scene.ledger, "a")
    scene.watch.note(scene.letters())
    row = scene.ledger.rows["a", VERSION].derivatives["text"]
    moved = tuple(replace(part, object_key="derived/run-7/a") for part in row.artifacts)
    scene.ledger.rows["a", VERSION].derivatives["text"] = replace(row, artifacts=moved)
    proof, _ = scene.watch.wait(60, lambda _: False)
    assert not proof.holds
