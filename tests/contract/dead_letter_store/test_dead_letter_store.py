"""What every store of dead letters must do, whatever is behind it."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from media_pipeline.contracts.dead_letter import letter_of, read_dead_letter
from media_pipeline.dead_letters.replay_plan import replay_event
from media_pipeline.domain.dead_letters import LetterAction, LetterFilter
from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.outcome import Code
from media_pipeline.domain.ports import RejectedMessage
from tests.fakes.ledger_story import OFFSETS, TOPIC, VERSION, arrive, bury, record_of, run


@pytest.fixture
def name():
    return f"dl-{uuid.uuid4().hex[:12]}"


def only(store, *dlq_ids, **wanted):
    return store.letters(LetterFilter(ids=frozenset(dlq_ids), **wanted), None, 1000)


def action(kind="replay", **more):
    return LetterAction(uuid.uuid4().hex, kind, "anna", "host-1", {"codes": ["invalid"]}, **more)


def replayed(store, dlq_id, replay_id=None):
    """What a replay sends for this letter, as the record that the intake will read."""
    (letter,) = only(store, dlq_id)
    event = replay_event(
        letter, store.records([dlq_id])[dlq_id], replay_id or uuid.uuid4().hex, TOPIC
    )
    return MessageRecord(
        TOPIC, 2, next(OFFSETS), 1_700_000_000_001, event.key, event.payload, event.headers
    )


# --- reading ----------------------------------------------------------------------------------


def test_a_letter_says_what_failed_and_keeps_the_record(stores, name):
    ledger, store = stores
    record = record_of(name, headers=(("h", b"\x00\xff"), ("traceparent", b"00-1")))
    dlq_id = bury(ledger, name, record=record)
    (letter,) = only(store, dlq_id)
    assert (letter.asset_id, letter.content_version) == (name, VERSION)
    assert (letter.stage, letter.code, letter.state) == ("text", "invalid", "open")
    assert (letter.attempts, letter.replay_count, letter.superseded) == (1, 0, False)
    assert letter.coordinates == record.coordinates
    assert letter.record_bytes == len(record.value)
    assert store.records([dlq_id, "unknown"]) == {dlq_id: record}


def test_a_record_without_value_or_key_stays_so(stores):
    ledger, store = stores
    record = MessageRecord(TOPIC, 2, next(OFFSETS), 5, None, None)
    ledger.reject([RejectedMessage(record, "contract", "empty_message", "no value")], "1")
    found = store.letters(LetterFilter(codes=("empty_message",)), None, 1000)
    (letter,) = [one for one in found if one.offset == record.offset]
    assert (letter.asset_id, letter.record_bytes) == (None, 0)
    assert store.records([letter.dlq_id])[letter.dlq_id] == record


def test_pages_go_on_where_the_last_one_ended(stores, name):
    ledger, store = stores
    ids = [bury(ledger, f"{name}-{number}") for number in range(5)]
    wanted, pages, after = LetterFilter(ids=frozenset(ids)), [], None
    while page := store.letters(wanted, after, 2):
        pages.append([one.dlq_id for one in page])
        after = page[-1].dlq_id
    assert pages == [ids[:2], ids[2:4], ids[4:]]


def test_filters_narrow_and_combine(stores, name):
    ledger, store = stores
    invalid, empty = bury(ledger, f"{name}-1"), bury(ledger, f"{name}-2", "empty")
    both = (invalid, empty)
    assert [one.dlq_id for one in only(store, *both, codes=("empty",))] == [empty]
    assert [one.dlq_id for one in only(store, *both, assets=(f"{name}-1",))] == [invalid]
    assert only(store, *both, stages=("contract",)) == []
    assert only(store, *both, states=("discarded",)) == []
    now = datetime.now(UTC)
    assert len(only(store, *both, since=now - timedelta(hours=1))) == 2
    assert only(store, *both, since=now + timedelta(hours=1)) == []
    assert only(store, *both, until=now - timedelta(hours=1)) == []
    assert only(store, *both, codes=("empty",), assets=(f"{name}-1",)) == []


def test_a_letter_is_superseded_once_a_newer_version_is_enriched(stores, name):
    ledger, store = stores
    dlq_id = bury(ledger, name)
    arrive(ledger, name, version="sha256:2")
    assert not only(store, dlq_id)[0].superseded
    run(ledger, name)
    assert only(store, dlq_id)[0].superseded


# --- acting -----------------------------------------------------------------------------------


def test_every_state_has_a_history(stores, name):
    ledger, store = stores
    dlq_id = bury(ledger, name)
    validate, discard = action("validate"), action("discard", reason="asked the uploader")
    assert store.act(validate, only(store, dlq_id)) == [dlq_id]
    assert store.act(discard, only(store, dlq_id)) == [dlq_id]
    assert only(store, dlq_id)[0].state == "discarded"
    history = store.history(dlq_id)
    assert [(one.what, one.state) for one in history] == [
        ("buried", "open"), ("validate", "validated"), ("discard", "discarded"),
    ]  # fmt: skip
    assert (history[2].who, history[2].host, history[2].reason) == (
        "anna", "host-1", "asked the uploader",
    )  # fmt: skip
    assert history[2].wanted == {"codes": ["invalid"]}
    assert history[1].action_id == validate.action_id


def test_an_action_again_changes_nothing(stores, name):
    ledger, store = stores
    dlq_id = bury(ledger, name)
    seen, once = only(store, dlq_id), action()
    assert store.act(once, []) == []
    assert store.act(once, seen) == [dlq_id]
    assert store.act(once, seen) == []
    assert store.act(once, only(store, dlq_id)) == []
    assert [one.what for one in store.history(dlq_id)] == ["buried", "replay"]
    assert only(store, dlq_id)[0].replay_count == 1


def test_only_what_is_open_can_be_validated_or_discarded(stores, name):
    ledger, store = stores
    dlq_id = bury(ledger, name)
    store.act(action(), only(store, dlq_id))
    assert store.act(action("validate"), only(store, dlq_id)) == []
    assert store.act(action("discard"), only(store, dlq_id)) == []
    assert only(store, dlq_id)[0].state == "replayed"
    assert [one.what for one in store.history(dlq_id)] == ["buried", "replay"]


def test_success_settles_the_letter(stores, name):
    ledger, store = stores
    dlq_id = bury(ledger, name)
    run(ledger, name)
    assert only(store, dlq_id)[0].state == "replayed"
    assert [one.what for one in store.history(dlq_id)] == ["buried", "enriched"]


# --- replaying --------------------------------------------------------------------------------


def test_a_replayed_message_runs_again_and_ends_enriched(stores, name):
    ledger, store = stores
    dlq_id = bury(ledger, name)
    (before,) = store.versions([(name, VERSION)])
    assert (before.status, before.ended, before.fence > 0) == ("dead_lettered", True, True)
    answer = arrive(ledger, name, record=replayed(store, dlq_id))
    assert (answer.status, answer.same_message, answer.first_seen) == ("registered", True, False)
    store.act(action(), only(store, dlq_id))
    (claim,) = ledger.claim("look", "look", [name])
    assert (claim.attempts, claim.previous_status) == (1, "registered")
    run(ledger, name, run_id="after")
    run(ledger, name, run_id="a backfill")
    assert only(store, dlq_id)[0].state == "replayed"
    assert [one.what for one in store.history(dlq_id)] == ["buried", "replay", "enriched"]
    (state,) = store.versions([(name, VERSION), ("nobody", "1")])
    assert (state.status, state.ended) == ("complete", True)
    assert state.fence > before.fence
    assert [row.code for row in state.derivatives] == [Code.OK]
    assert state.derivatives[0].artifacts[0].object_key == f"derived/{name}"


def test_one_replay_runs_a_version_once_however_often_it_is_delivered(stores, name):
    ledger, store = stores
    dlq_id = bury(ledger, name)
    first, second = replayed(store, dlq_id, "replay-1"), replayed(store, dlq_id, "replay-1")
    assert arrive(ledger, name, record=first).same_message
    assert arrive(ledger, name, record=first).same_message
    assert not arrive(ledger, name, record=second).same_message
    run(ledger, name, "invalid")
    late = arrive(ledger, name, record=second)
    assert (late.same_message, late.status) == (False, "dead_lettered")
    assert arrive(ledger, name, record=replayed(store, dlq_id, "replay-2")).status == "registered"


def test_without_a_replay_id_a_dead_lettered_version_stays_so(stores, name):
    ledger, _ = stores
    bury(ledger, name)
    again = arrive(ledger, name)
    assert (again.same_message, again.status) == (False, "dead_lettered")


def test_an_enriched_version_is_not_run_again(stores, name):
    ledger, store = stores
    dlq_id = bury(ledger, name)
    message = replayed(store, dlq_id)
    run(ledger, name)
    late = arrive(ledger, name, record=message)
    assert (late.same_message, late.status) == (False, "complete")


def test_a_replay_that_fails_opens_the_letter_and_is_told_again(stores, name):
    ledger, store = stores
    original = record_of(name)
    dlq_id = bury(ledger, name, record=original)
    for count in (1, 2):
        message = replayed(store, dlq_id)
        store.act(action(), only(store, dlq_id))
        arrive(ledger, name, record=message)
        assert run(ledger, name, "invalid") == dlq_id
        (letter,) = only(store, dlq_id)
        assert (letter.state, letter.replay_count) == ("open", count)
    assert store.records([dlq_id])[dlq_id] == original
    sent = [
        read_dead_letter(
            MessageRecord(event.topic, 0, 0, 0, event.key, event.payload, event.headers)
        )
        for event in ledger.unpublished(100_000)
        if event.event_id.partition("#")[0] == dlq_id
    ]
    assert [one.headers["replay.count"] for one in sent] == ["0", "1", "2"]
    assert {one.original.value for one in sent} == {original.value}
    assert [letter_of(one).dlq_id for one in sent] == [dlq_id] * 3
    assert [one.what for one in store.history(dlq_id)] == [
        "buried", "replay", "buried again", "replay", "buried again",
    ]  # fmt: skip


def test_a_letter_buried_again_meanwhile_stays_open(stores, name):
    """The message was sent and failed before the tool could note that it was sent."""
    ledger, store = stores
    dlq_id = bury(ledger, name)
    seen = only(store, dlq_id)
    arrive(ledger, name, record=replayed(store, dlq_id))
    run(ledger, name, "invalid")
    assert store.act(action(), seen) == []
    (letter,) = only(store, dlq_id)
    assert (letter.state, letter.replay_count) == ("open", 1)
    assert [one.what for one in store.history(dlq_id)][-1] == "replay", "the audit is kept"


def test_another_failure_of_a_replay_carries_its_count(stores, name):
    ledger, store = stores
    dlq_id = bury(ledger, name)
    arrive(ledger, name, record=replayed(store, dlq_id, "replay-7"))
    other = run(ledger, name, "empty")
    (letter,) = only(store, other)
    assert (letter.replay_count, letter.state) == (1, "open")
    found = store.letters(LetterFilter(assets=(name,), replay_id="replay-7"), None, 10)
    assert [one.dlq_id for one in found] == [other]


def test_a_refused_message_carries_its_count_whatever_strangers_write(stores):
    ledger, store = stores
    counts = {b"2": 2, b"-1": 0, b"9" * 40: 0, b"\xff\x00": 0}
    records = {
        record_of("x", headers=(("replay.id", b"r"), ("replay.count", text))): count
        for text, count in counts.items()
    }
    rejected = [RejectedMessage(one, "contract", "malformed_json", "cut off") for one in records]
    ledger.reject(rejected, "1")
    expected = {one.offset: count for one, count in records.items()}
    found = store.letters(LetterFilter(codes=("malformed_json",)), None, 1000)
    assert {one.offset: one.replay_count for one in found if one.offset in expected} == expected


# --- one at a time ----------------------------------------------------------------------------


def test_the_second_operator_is_told_who_is_first(stores, name):
    _, store = stores
    mine = store.take_lease(name, "token-1", "anna", "host-1", 60)
    theirs = store.take_lease(name, "token-2", "ben", "host-2", 60)
    assert (mine.granted, theirs.granted) == (True, False)
    assert (theirs.holder, theirs.host, theirs.since) == ("anna", "host-1", mine.since)
    assert store.take_lease(name, "token-1", "anna", "host-1", 600).expires_at > mine.expires_at
    store.release_lease(name, "token-2")
    assert not store.take_lease(name, "token-2", "ben", "host-2", 60).granted
    store.release_lease(name, "token-1")
    assert store.take_lease(name, "token-2", "ben", "host-2", 60).granted


def test_an_expired_lease_is_anybodys(stores, name):
    _, store = stores
    assert store.take_lease(name, "token-1", "anna", "host-1", 0).granted
    assert store.take_lease(name, "token-2", "ben", "host-2", 60).granted


def test_without_a_pause_flag_there_is_no_pause(stores):
    _, store = stores
    found = store.pause()
    assert found is None or found.who
