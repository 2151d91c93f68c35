"""What every ledger must do, whatever is behind it."""

import dataclasses
import itertools
import threading
import uuid
from dataclasses import replace

import pytest

from media_pipeline.contracts.dead_letter import read_dead_letter
from media_pipeline.domain.identity import dead_letter_id
from media_pipeline.domain.media_asset import MediaAsset, MessageRecord, SourceObject
from media_pipeline.domain.outcome import Code, Derivative, StoredArtifact, Verdict
from media_pipeline.domain.ports import (
    Arrival,
    AssetResult,
    DeadLetterEntry,
    OutgoingEvent,
    RejectedMessage,
)
from media_pipeline.errors import SystemicError

OFFSETS = itertools.count(1)
TOPIC = "media.ingested.v1"


@pytest.fixture
def name():
    """A media asset id that no other test uses: the real ledger is shared."""
    return f"a-{uuid.uuid4().hex[:12]}"


def record(value: bytes = b"{}", key: bytes | None = b"k", headers=()) -> MessageRecord:
    return MessageRecord(TOPIC, 1, next(OFFSETS), 1_700_000_000_000, key, value, headers)


def arrival(asset_id: str, version: str = "sha256:1", message: MessageRecord | None = None):
    source = SourceObject("media", f"in/{asset_id}", None, "e", None, 5, "image/png")
    asset = MediaAsset(
        asset_id, version, source, f"event-{asset_id}", "2026-01-01T00:00:00Z", "live",
        ("eng", "deu"), "00-" + "1" * 32 + "-" + "2" * 16 + "-01", {"album": "x\x00y"},
    )  # fmt: skip
    return Arrival(asset, message or record(f"original {asset_id}".encode()))


def derivative(asset_id: str, fence: int, code=Code.OK, version="sha256:1", kind="text"):
    parts = (StoredArtifact("t.txt", "text/plain", f"derived/{asset_id}", "d" * 64, 7),)
    return Derivative(
        asset_id, version, fence, kind, f"{kind}-1", "d" * 64, 5, code, "why\x00", parts,
        {"pages": 3, "title": "a\x00b", "odd": float("nan")}, 0.25,
    )  # fmt: skip


def result(claim, status="complete", event_id=None, code="invalid"):
    asset = claim.asset
    event = letter = None
    if status in ("complete", "partial"):
        event_id = event_id or f"{asset.asset_id}-{asset.content_version}"
        event = OutgoingEvent(
            event_id, "media.asset_enriched.v1", b"k", b'{"x": 1}', (("h", b"v"),)
        )
    if status == "dead_lettered":
        dlq_id = dead_letter_id(asset.asset_id, asset.content_version, "text", code)
        letter = DeadLetterEntry(dlq_id, "text", code, "permanent", "broken file")
    return AssetResult(
        asset.asset_id,
        asset.content_version,
        claim.fence,
        Verdict(status, "text" if letter else "", code if letter else "", ""),
        "d" * 64,
        5,
        (derivative(asset.asset_id, claim.fence, version=asset.content_version),),
        event,
        letter,
    )


def waiting_events(ledger):
    return {event.event_id: event for event in ledger.unpublished(100_000)}


# --- register ---------------------------------------------------------------------------------


def test_a_new_asset_is_first_seen(ledger, name):
    (answer,) = ledger.register([arrival(name)])
    assert answer.first_seen
    assert answer.same_message
    assert not answer.asset_known
    assert (answer.status, answer.finished) == ("registered", False)


def test_the_same_record_again_is_the_same_message(ledger, name):
    one = arrival(name)
    ledger.register([one])
    (again,) = ledger.register([one])
    assert (again.first_seen, again.same_message, again.asset_known) == (False, True, False)


def test_a_redelivery_at_another_offset_is_a_duplicate(ledger, name):
    first, second = arrival(name), arrival(name)
    answers = ledger.register([first, second])
    assert [(one.first_seen, one.same_message) for one in answers] == [(True, True), (False, False)]
    (later,) = ledger.register([arrival(name)])
    assert (later.first_seen, later.same_message) == (False, False)


def test_another_version_knows_the_asset(ledger, name):
    ledger.register([arrival(name)])
    (answer,) = ledger.register([arrival(name, "sha256:2")])
    assert (answer.first_seen, answer.asset_known) == (True, True)


def test_answers_come_in_the_order_of_the_arrivals(ledger, name):
    names = [f"{name}-{n}" for n in (3, 1, 2)]
    assert [one.asset_id for one in ledger.register([arrival(n) for n in names])] == names


# --- claim ------------------------------------------------------------------------------------


def test_a_claim_carries_all_that_the_event_said(ledger, name):
    one = arrival(name)
    ledger.register([one])
    (claim,) = ledger.claim("run", "run", [name])
    assert claim.asset.source == one.asset.source
    assert claim.asset.ocr_languages == ("eng", "deu")
    assert claim.asset.traceparent == one.asset.traceparent
    assert (claim.attempts, claim.previous_status) == (1, "registered")


def test_unknown_assets_are_left_out(ledger, name):
    ledger.register([arrival(name)])
    claims = ledger.claim("run", "run", [f"{name}-unknown", name])
    assert [claim.asset.asset_id for claim in claims] == [name]


def test_the_same_run_keeps_its_fence_and_counts_no_attempt(ledger, name):
    ledger.register([arrival(name)])
    (first,) = ledger.claim("run", "run", [name])
    (second,) = ledger.claim("run", "run", [name])
    assert (second.fence, second.attempts) == (first.fence, first.attempts)


def test_a_retry_of_the_run_takes_over_with_a_new_fence(ledger, name):
    ledger.register([arrival(name)])
    (first,) = ledger.claim("run-1", "run-1", [name])
    (second,) = ledger.claim("run-2", "run-1", [name])
    assert second.fence > first.fence
    assert (second.attempts, second.previous_status) == (2, "claimed")


def test_a_try_that_was_given_up_cannot_take_its_work_back(ledger, name):
    ledger.register([arrival(name)])
    root = f"root-{name}"
    (first,) = ledger.claim(root, root, [name], run_created=100.0)
    (retry,) = ledger.claim(f"retry-{name}", root, [name], run_created=160.5)
    ledger.record(f"retry-{name}", [result(retry)], "1")
    with pytest.raises(SystemicError) as caught:
        ledger.claim(root, root, [name], run_created=100.0)
    assert caught.value.code == "run_superseded"
    (refused,) = ledger.record(root, [result(first)], "1")
    assert (refused.accepted, refused.reason) == (False, "stale_fence")
    # Somebody who executes the run again in the UI is its newest try.
    (again,) = ledger.claim(f"by-hand-{name}", root, [name], run_created=900.0)
    assert again.fence > retry.fence


def test_a_newer_try_wins_even_if_it_claims_first(ledger, name):
    """The first try stood still before it claimed anything."""
    ledger.register([arrival(name)])
    root = f"root-{name}"
    ledger.claim(f"retry-{name}", root, [name], run_created=160.5)
    with pytest.raises(SystemicError):
        ledger.claim(root, root, [name], run_created=100.0)


def test_two_versions_are_claimed_one_per_run_oldest_first(ledger, name):
    ledger.register([arrival(name, "sha256:1"), arrival(name, "sha256:2")])
    (one,) = ledger.claim("run-1", "run-1", [name])
    (two,) = ledger.claim("run-2", "run-2", [name])
    assert [one.asset.content_version, two.asset.content_version] == ["sha256:1", "sha256:2"]
    # A retry of the first run finds its own version again.
    (again,) = ledger.claim("run-3", "run-1", [name])
    assert again.asset.content_version == "sha256:1"


def test_finished_work_is_claimed_newest_first_and_keeps_its_status(ledger, name):
    for version in ("sha256:1", "sha256:2"):
        ledger.register([arrival(name, version)])
        (claim,) = ledger.claim(f"run-{version}", f"run-{version}", [name])
        ledger.record(f"run-{version}", [result(claim)], "1")
    (claim,) = ledger.claim("backfill", "backfill", [name])
    assert (claim.asset.content_version, claim.previous_status) == ("sha256:2", "complete")
    (status,) = ledger.register([arrival(name, "sha256:2")])
    assert status.status == "complete"


def test_racing_claims_get_different_fences(ledger, name):
    names = [f"{name}-{n}" for n in range(20)]
    ledger.register([arrival(one) for one in names])
    claims: list = []
    barrier = threading.Barrier(4)

    def race(number: int) -> None:
        mine = names if number % 2 else names[::-1]
        barrier.wait()
        claims.extend(ledger.claim(f"run-{number}", f"run-{number}", mine))

    threads = [threading.Thread(target=race, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fences = [(claim.asset.asset_id, claim.fence) for claim in claims]
    assert len(fences) == len(set(fences)) == 80


# --- record -----------------------------------------------------------------------------------


def test_a_complete_result_is_kept_and_its_event_waits(ledger, name):
    ledger.register([arrival(name)])
    (claim,) = ledger.claim("run", "run", [name])
    (answer,) = ledger.record("run", [result(claim)], "1")
    assert (answer.accepted, answer.reason) == (True, "ok")
    (row,) = ledger.derivatives([name])
    assert (row.kind, row.code, row.fence) == ("text", Code.OK, claim.fence)
    assert row.artifacts[0].object_key == f"derived/{name}"
    assert row.attributes["pages"] == 3
    event = waiting_events(ledger)[f"{name}-sha256:1"]
    assert (event.topic, event.key, event.payload) == (
        "media.asset_enriched.v1", b"k", b'{"x": 1}',
    )  # fmt: skip
    assert event.headers == (("h", b"v"),)


def test_a_zombie_run_changes_nothing(ledger, name):
    ledger.register([arrival(name)])
    (old,) = ledger.claim("zombie", "zombie", [name])
    (new,) = ledger.claim("successor", "successor", [name])
    (answer,) = ledger.record("zombie", [result(old, event_id=f"{name}-zombie")], "1")
    assert (answer.accepted, answer.reason) == (False, "stale_fence")
    assert f"{name}-zombie" not in waiting_events(ledger)
    assert ledger.derivatives([name]) == []
    (answer,) = ledger.record("successor", [result(new)], "1")
    assert answer.accepted
    # After the fact, too.
    (answer,) = ledger.record("zombie", [result(old, "dead_lettered")], "1")
    assert not answer.accepted
    (status,) = ledger.register([arrival(name)])
    assert status.status == "complete"


def test_a_lost_reply_may_be_repeated(ledger, name):
    ledger.register([arrival(name)])
    (claim,) = ledger.claim("run", "run", [name])
    for _ in range(2):
        (answer,) = ledger.record("run", [result(claim)], "1")
        assert answer.accepted
    assert len([e for e in ledger.unpublished(100_000) if e.event_id.startswith(name)]) == 1


def test_an_unknown_version_is_refused(ledger, name):
    ledger.register([arrival(name)])
    (claim,) = ledger.claim("run", "run", [name])
    stranger = dataclasses.replace(result(claim), content_version="sha256:9")
    (answer,) = ledger.record("run", [stranger], "1")
    assert (answer.accepted, answer.reason) == (False, "unknown")


def test_retry_leaves_it_unfinished_and_may_be_followed_by_an_end(ledger, name):
    ledger.register([arrival(name)])
    (claim,) = ledger.claim("run", "run", [name])
    assert ledger.record("run", [result(claim, "retry")], "1")[0].accepted
    (status,) = ledger.register([arrival(name)])
    assert (status.status, status.finished) == ("retry", False)
    assert ledger.record("run", [result(claim)], "1")[0].accepted
    (status,) = ledger.register([arrival(name)])
    assert status.status == "complete"
    assert f"{name}-sha256:1" in waiting_events(ledger)


def test_a_failure_is_dead_lettered_once_with_the_original_bytes(ledger, name):
    message = record(b"\x00\xffraw", None, (("trace", b"\x01"),))
    ledger.register([arrival(name, message=message)])
    for run in ("run-1", "run-2"):
        (claim,) = ledger.claim(run, run, [name])
        assert ledger.record(run, [result(claim, "dead_lettered")], "9.9")[0].accepted
    dlq_id = dead_letter_id(name, "sha256:1", "text", "invalid")
    event = waiting_events(ledger)[dlq_id]
    assert (event.topic, event.key, event.payload) == ("media.processing.dlq", None, b"\x00\xffraw")
    letter = read_dead_letter(
        MessageRecord(event.topic, 0, 0, 0, event.key, event.payload, event.headers)
    )
    assert letter.original.coordinates == message.coordinates
    assert letter.original.headers == (("trace", b"\x01"),)
    expected = {
        "asset_id": name, "content_version": "sha256:1", "error.code": "invalid",
        "error.stage": "text", "error.message": "broken file", "attempts": "1",
        "pipeline_version": "9.9", "run_id": "run-1", "replay.count": "0",
    }  # fmt: skip
    assert {key: letter.headers.get(key) for key in expected} == expected


def test_success_after_a_dead_letter_ends_as_enriched(ledger, name):
    ledger.register([arrival(name)])
    (claim,) = ledger.claim("run-1", "run-1", [name])
    ledger.record("run-1", [result(claim, "dead_lettered")], "1")
    (claim,) = ledger.claim("run-2", "run-2", [name])
    assert claim.previous_status == "dead_lettered"
    assert ledger.record("run-2", [result(claim)], "1")[0].accepted
    (status,) = ledger.register([arrival(name)])
    assert status.status == "complete"


def test_a_thousand_results_in_one_call(ledger, name):
    names = [f"{name}-{n}" for n in range(1000)]
    ledger.register([arrival(one) for one in names])
    claims = ledger.claim("run", "run", names)
    answers = ledger.record("run", [result(claim) for claim in claims], "1")
    assert [answer.asset_id for answer in answers] == names
    assert all(answer.accepted for answer in answers)
    assert len(ledger.derivatives(names)) == 1000


# --- reject, outbox, counts -------------------------------------------------------------------


def test_an_invalid_message_is_rejected_once(ledger):
    message = record(b'{"cut', None)
    rejected = RejectedMessage(message, "contract", "malformed_json", "cut off")
    assert ledger.reject([rejected, rejected], "1") == 1
    assert ledger.reject([rejected], "1") == 0
    event = waiting_events(ledger)[
        dead_letter_id(message.coordinates, "", "contract", "malformed_json")
    ]
    assert event.payload == b'{"cut'
    letter = read_dead_letter(
        MessageRecord(event.topic, 0, 0, 0, event.key, event.payload, event.headers)
    )
    assert letter.headers["error.message"] == "cut off"
    assert "asset_id" not in letter.headers


def test_a_tombstone_stays_a_tombstone(ledger):
    message = record(None, b"k")
    ledger.reject([RejectedMessage(message, "contract", "empty_message", "no value")], "1")
    event = waiting_events(ledger)[
        dead_letter_id(message.coordinates, "", "contract", "empty_message")
    ]
    assert (event.key, event.payload) == (b"k", None)


def test_the_outbox_is_in_order_and_forgets_what_was_published(ledger, name):
    names = [f"{name}-{n}" for n in range(5)]
    ledger.register([arrival(one) for one in names])
    for one in names:
        ledger.record(one, [result(*ledger.claim(one, one, [one]))], "1")
    ours = [e.event_id for e in ledger.unpublished(100_000) if e.event_id.startswith(name)]
    assert ours == [f"{one}-sha256:1" for one in names]
    ledger.mark_published(ours[:3])
    left = [e.event_id for e in ledger.unpublished(100_000) if e.event_id.startswith(name)]
    assert left == ours[3:]


def test_counts_follow_every_move(ledger, name):
    def count(status: str) -> int:
        return ledger.counts().by_status.get(status, 0)

    before = {status: count(status) for status in ("registered", "claimed", "complete")}
    ledger.register([arrival(name), arrival(f"{name}-2")])
    assert count("registered") == before["registered"] + 2
    (claim,) = ledger.claim("run", "run", [name])
    assert count("claimed") == before["claimed"] + 1
    unpublished = ledger.counts().unpublished
    ledger.record("run", [result(claim)], "1")
    assert count("complete") == before["complete"] + 1
    assert count("claimed") == before["claimed"]
    assert count("registered") == before["registered"] + 1
    assert ledger.counts().unpublished == unpublished + 1


def test_an_empty_batch_is_no_call(ledger):
    assert ledger.register([]) == []
    assert ledger.claim("run", "run", []) == []
    assert ledger.record("run", [], "1") == []
    assert ledger.reject([], "1") == 0
    ledger.probe()


# --- stale ------------------------------------------------------------------------------------


def finished(ledger, name, status="complete", kinds=("text",), version="sha256:1"):
    ledger.register([arrival(name, version)])
    (claim,) = ledger.claim(f"run-{version}", f"run-{version}", [name])
    ended = result(claim, status)
    rows = tuple(derivative(name, claim.fence, version=version, kind=kind) for kind in kinds)
    ledger.record(f"run-{version}", [replace(ended, derivatives=rows)], "1")


def stale_of(ledger, name, expected):
    """What is stale of one media asset: the real ledger is shared."""
    rows = ledger.stale(expected, None, 100_000)
    return [(row.kind, row.fingerprint) for row in rows if row.asset_id == name]


def test_another_fingerprint_and_a_missing_kind_are_stale(ledger, name):
    finished(ledger, name, kinds=("text", "thumbnails"))
    expected = {"text": "text-1", "thumbnails": "thumbnails-2", "ocr": "ocr-1"}
    assert stale_of(ledger, name, expected) == [("ocr", None), ("thumbnails", "thumbnails-1")]
    assert stale_of(ledger, name, {"text": "text-1"}) == []


def test_only_the_newest_version_counts_and_only_when_it_was_enriched(ledger, name):
    finished(ledger, name, version="sha256:1")
    finished(ledger, name, kinds=("text", "ocr"), version="sha256:2")
    assert stale_of(ledger, name, {"ocr": "ocr-1"}) == []
    dead = f"{name}-dead"
    finished(ledger, dead, status="dead_lettered")
    assert stale_of(ledger, dead, {"ocr": "ocr-1"}) == []


def test_pages_of_stale_derivatives_follow_each_other(ledger, name):
    names = [f"{name}-{letter}" for letter in "abcde"]
    for one in names:
        finished(ledger, one)
    expected, seen, after = {"text": "text-2", "ocr": "ocr-2"}, [], name
    while rows := ledger.stale(expected, after, 2):
        assert len({row.asset_id for row in rows}) <= 2
        seen += [(row.asset_id, row.kind) for row in rows if row.asset_id.startswith(name)]
        after = rows[-1].asset_id
    assert seen == [(one, kind) for one in names for kind in ("ocr", "text")]


def test_recorded_seconds_tell_what_a_kind_costs(ledger, name):
    finished(ledger, name, kinds=("text", f"kind-{name}"))
    (row,) = [row for row in ledger.stale({"text": "x"}, None, 100_000) if row.asset_id == name]
    assert (row.seconds, row.input_bytes) == (0.25, 5)
    assert ledger.mean_seconds()[f"kind-{name}"] == pytest.approx(0.25)
