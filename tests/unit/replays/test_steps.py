"""What a page of messages or media assets means: who runs, who is left, and where to go on."""

import json
from collections import Counter

import pytest

from media_pipeline.domain.ports import Poll, RejectedMessage, Span
from media_pipeline.domain.replays import CandidateFilter, KnownState
from media_pipeline.errors import TransientError
from media_pipeline.replays.steps import (
    Rules,
    TopicRange,
    judge,
    snapshot_steps,
    topic_range,
    topic_steps,
)
from tests.fakes.event_log import FakeEventLog
from tests.fakes.ledger_audit import FakeLedgerAudit
from tests.fakes.ledger_story import arrive, run
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.replay_store import FakeReplayStore

TOPIC = "media.ingested.v1"
NOBODY = Rules(idle_seconds=0)


@pytest.fixture
def log():
    log = FakeEventLog()
    log.create(TOPIC, 2)
    return log


@pytest.fixture
def ledger():
    return FakeMetadataStore()


def announce(log, asset_id, version="1", partition=0, at=None):
    body = {
        "event_id": f"e-{asset_id}-{version}", "occurred_at": "2026-01-01T00:00:00Z",
        "asset_id": asset_id, "bucket": "media", "object_key": f"in/{asset_id}",
        "etag": version,
    }  # fmt: skip
    value = json.dumps(body).encode()
    return log.append(TOPIC, partition, asset_id.encode(), value, timestamp_ms=at)


def steps(log, ledger, rules=NOBODY, **wanted):
    meant = TopicRange(TOPIC, log.spans(TOPIC), **wanted)
    return list(
        topic_steps(log, FakeReplayStore(ledger), FakeLedgerAudit(ledger), meant, rules, ("media",))
    )


def total(found):
    return sum((step.counts for step in found), Counter())


def versions(found):
    return [version for step in found for version in step.versions]


@pytest.mark.parametrize(
    ("state", "busy", "force", "expected"),
    [
        ("missing", None, False, (True, "missing")),
        ("registered", None, False, (True, "unfinished")),
        ("retry", None, False, (True, "unfinished")),
        ("claimed", "run 1", False, (False, "under_way")),
        ("claimed", "run 1", True, (False, "under_way")),
        ("complete", None, False, (False, "complete")),
        ("complete", None, True, (True, "complete")),
        ("complete", "replay 1", True, (False, "under_way")),
        ("dead_lettered", None, False, (False, "dead_lettered")),
        ("dead_lettered", None, True, (True, "dead_lettered")),
        ("superseded", None, True, (False, "superseded")),
    ],
)
def test_who_runs(state, busy, force, expected):
    assert judge(KnownState(state, busy), Rules(force=force)) == expected


def test_messages_are_missing_invalid_or_repeated(log, ledger):
    for name in ("a", "b"):
        announce(log, name)
    announce(log, "a")
    log.append(TOPIC, 1, b"k", b"no json")
    found = steps(log, ledger)
    assert total(found) == {"missing": 2, "repeated": 1, "invalid": 1}
    assert versions(found) == [("a", "etag:1"), ("b", "etag:1")]
    assert [one.code for step in found for one in step.rejected] == ["malformed_json"]
    assert [one.asset.asset_id for step in found for one in step.arrivals] == ["a", "b"]
    assert found[-1].place == {"0": 3, "1": 1}


def test_a_message_that_is_a_dead_letter_already_is_no_news(log, ledger):
    record = log.append(TOPIC, 1, b"k", b"no json")
    ledger.reject([RejectedMessage(record, "contract", "wrong_type", "of an older contract")], "1")
    (step, _) = steps(log, ledger)
    assert (step.counts, step.rejected) == ({"dead_lettered": 1}, [])


def test_two_versions_of_a_media_asset_never_share_a_step(log, ledger):
    for version in "123":
        announce(log, "a", version)
        announce(log, f"b{version}")
    found = [step for step in steps(log, ledger) if step.versions]
    assert [sorted(step.assets) for step in found] == [["a", "b1"], ["a", "b2"], ["a", "b3"]]
    assert [step.place["0"] for step in found] == [2, 4, 6]


def test_what_has_ended_runs_when_forced_and_is_not_registered_again(log, ledger):
    record = announce(log, "a")
    arrive(ledger, "a", record, "etag:1")
    run(ledger, "a")
    assert total(steps(log, ledger)) == {"complete": 1}
    forced = steps(log, ledger, Rules(force=True, idle_seconds=0))
    assert versions(forced) == [("a", "etag:1")]
    assert not any(step.arrivals for step in forced)


def test_times_are_those_of_the_records(log, ledger):
    for at in (100, 300, 200, 400):  # producers' clocks differ
        announce(log, f"a{at}", at=at)
    found = steps(log, ledger, since_ms=200, until_ms=400)
    assert versions(found) == [("a300", "etag:1"), ("a200", "etag:1")]
    assert total(found) == {"missing": 2, "outside": 2}


def test_reading_goes_on_from_a_place(log, ledger):
    for number in range(5):
        announce(log, f"a{number}")
    meant = TopicRange(TOPIC, {0: Span(1, 5)})
    assert topic_range(json.loads(json.dumps(meant.described()))) == meant
    left = meant.from_place({"0": 3})
    found = list(
        topic_steps(log, FakeReplayStore(ledger), FakeLedgerAudit(ledger), left, NOBODY, ("media",))
    )
    assert [asset_id for asset_id, _ in versions(found)] == ["a3", "a4"]
    assert (meant.size, left.size, meant.place()) == (4, 2, {"0": 1})


def test_an_end_that_is_not_met_is_told(log, ledger):
    announce(log, "a")
    log.read = lambda topic, spans, **_: Poll((), {n: s.first for n, s in spans.items()}, {})
    with pytest.raises(TransientError, match="1 offsets are missing"):
        steps(log, ledger)


def test_media_assets_of_the_ledger_in_pages(ledger):
    for number in range(7):
        arrive(ledger, f"a{number}")
    for name in ("a1", "a4", "a6"):
        run(ledger, name)
    store = FakeReplayStore(ledger)
    wanted = CandidateFilter(statuses=("complete", "registered"))
    found = list(snapshot_steps(store, wanted, NOBODY, None))
    assert total(found) == {"complete": 3, "unfinished": 4}
    assert [asset_id for asset_id, _ in versions(found)] == [f"a{n}" for n in range(7)]
    assert found[-1].place == {"after": "a6"}
    assert versions(snapshot_steps(store, wanted, NOBODY, "a4"))[0][0] == "a5"
    busy = list(snapshot_steps(store, wanted, Rules(idle_seconds=999), None))
    assert total(busy) == {"complete": 3, "under_way": 4}
