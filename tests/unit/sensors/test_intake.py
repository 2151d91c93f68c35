from dataclasses import replace

from media_pipeline.dead_letters.replay_plan import replay_event
from media_pipeline.domain.dead_letters import LetterFilter
from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.settings import BatchSettings
from sensors.intake import sort_arrivals
from sensors.media_events import run_key
from tests.e2e.pipeline import message
from tests.fakes.dead_letter_store import FakeDeadLetterStore
from tests.fakes.ledger_story import TOPIC, run
from tests.fakes.metadata_store import FakeMetadataStore


def taken(ledger, *records):
    return sort_arrivals(records, ledger, ["media"], BatchSettings(), "1")


def test_a_replayed_dead_letter_runs_again_under_a_key_of_its_own():
    ledger = FakeMetadataStore()
    sent = message("late")
    first = MessageRecord(TOPIC, 0, 0, 1, sent.key, sent.payload, (("traceparent", b"x"),))
    fresh = taken(ledger, first).fresh
    dlq_id = run(ledger, "late", "object_missing")
    assert taken(ledger, replace(first, offset=1)).duplicates == 1, "a redelivery is none"

    store = FakeDeadLetterStore(ledger)
    (letter,) = store.letters(LetterFilter(ids=frozenset({dlq_id})), None, 1)
    event = replay_event(letter, store.records([dlq_id])[dlq_id], "replay-1", TOPIC)
    again = MessageRecord(TOPIC, 0, 2, 2, event.key, event.payload, event.headers)
    found = taken(ledger, again, replace(again, offset=3))
    assert [arrival.record for arrival in found.known] == [again]
    assert (found.fresh, found.duplicates) == ([], 1)
    assert run_key(found.known, "set0") != run_key(fresh, "set0")

    repeated = taken(ledger, again)
    assert [arrival.record for arrival in repeated.known] == [again], (
        "the tick died and is repeated"
    )
    run(ledger, "late")
    assert taken(ledger, again).duplicates == 1
