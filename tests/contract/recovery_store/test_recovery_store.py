"""What every ledger must remember: losses, marks, pauses, breakers, and what waits."""

import uuid

import pytest

from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.recovery import Trip
from tests.fakes.ledger_story import VERSION, arrive, record_of, run

LONG_AGO = 0.0


@pytest.fixture
def name():
    return f"r-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def code():
    """A cause that no other test uses."""
    return f"cause-{uuid.uuid4().hex[:8]}"


def claim(ledger, asset_id, run_id=None, root=None):
    run_id = run_id or uuid.uuid4().hex
    (one,) = ledger.claim(run_id, root or run_id, [asset_id])
    return run_id, one


def waits(recovery, name, *, grace=0.0, paused=()):
    found = [one for one in recovery.waiting(paused, grace, 100_000) if one.asset_id == name]
    return found[0] if found else None


def breaker(recovery, code):
    return next((one for one in recovery.controls().breakers if one.code == code), None)


class TestLosses:
    def test_a_first_claim_has_lost_nothing(self, stores, name):
        ledger, recovery = stores
        arrive(ledger, name)
        run_id, _ = claim(ledger, name)
        assert recovery.losses(run_id, [name]) == []

    def test_a_claim_that_was_never_recorded_is_a_loss_of_the_next_run(self, stores, name):
        ledger, recovery = stores
        arrive(ledger, name)
        claim(ledger, name)
        second, _ = claim(ledger, name)
        assert claim(ledger, name, second)[1].attempts == 2, "asking again is no loss"
        (loss,) = recovery.losses(second, [name])
        assert (loss.content_version, loss.lost_attempts, loss.marks) == (VERSION, 1, {})

    def test_an_outcome_makes_an_end_of_it(self, stores, name):
        ledger, recovery = stores
        arrive(ledger, name)
        claim(ledger, name)
        run(ledger, name)
        third, _ = claim(ledger, name)
        assert recovery.losses(third, [name]) == []

    def test_a_backfill_that_died_is_a_loss_as_well(self, stores, name):
        ledger, recovery = stores
        arrive(ledger, name)
        run(ledger, name)
        claim(ledger, name)
        last, _ = claim(ledger, name)
        assert recovery.losses(last, [name])[0].lost_attempts == 1

    def test_a_mark_that_was_left_behind_names_the_kind(self, stores, name):
        ledger, recovery = stores
        arrive(ledger, name)
        for kind in ("text", "ocr", "ocr"):
            _, one = claim(ledger, name)
            recovery.enter_cage(name, VERSION, kind, one.fence)
        last, one = claim(ledger, name)
        recovery.enter_cage(name, VERSION, "ocr", one.fence)
        (loss,) = recovery.losses(last, [name])
        assert (loss.lost_attempts, loss.marks) == (3, {"text": 1, "ocr": 2}), "not one's own"

    def test_who_left_the_cage_left_no_mark(self, stores, name):
        ledger, recovery = stores
        arrive(ledger, name)
        _, one = claim(ledger, name)
        recovery.enter_cage(name, VERSION, "text", one.fence)
        recovery.leave_cage(name, VERSION, "text", one.fence)
        last, _ = claim(ledger, name)
        assert recovery.losses(last, [name])[0].marks == {}

    def test_another_run_asks_in_vain(self, stores, name):
        ledger, recovery = stores
        arrive(ledger, name)
        claim(ledger, name)
        claim(ledger, name)
        assert recovery.losses("stranger", [name]) == []


class TestWaiting:
    def test_what_nobody_works_on_waits(self, stores, name):
        ledger, recovery = stores
        arrive(ledger, name)
        assert waits(recovery, name, grace=3600) is None
        found = waits(recovery, name)
        assert (found.status, found.attempts, found.run_id, found.released) == (
            "registered", 0, None, False,
        )  # fmt: skip

    def test_a_claim_waits_under_its_run_and_an_end_does_not(self, stores, name):
        ledger, recovery = stores
        arrive(ledger, name)
        run_id, _ = claim(ledger, name, root="root-" + name)
        found = waits(recovery, name)
        assert (found.status, found.run_id, found.root_run_id) == (
            "claimed", run_id, "root-" + name,
        )  # fmt: skip
        assert found.claimed_at >= found.waiting_since
        run(ledger, name, run_id=run_id)
        assert waits(recovery, name) is None

    def test_what_is_held_waits_for_its_scope(self, stores, name):
        ledger, recovery = stores
        scope = f"bucket:{name}"
        arrive(ledger, name)
        assert recovery.hold([(name, VERSION), ("unknown", VERSION)], scope) == 1
        assert waits(recovery, name, paused=[scope]) is None
        assert waits(recovery, name, grace=3600).released
        claim(ledger, name)
        assert not waits(recovery, name).released, "a run has it now"

    def test_a_replay_begins_to_wait_anew(self, stores, name):
        ledger, recovery = stores
        arrive(ledger, name)
        run(ledger, name, code="invalid")
        claimed = waits(recovery, name)
        assert claimed is None
        headers = (("replay.id", b"one"), ("replay.count", b"1"))
        arrive(ledger, name, record_of(name, headers))
        found = waits(recovery, name)
        assert (found.status, found.attempts) == ("registered", 0)
        assert found.waiting_since > found.claimed_at
        assert waits(recovery, name, grace=3600) is None


class TestPauses:
    def test_the_newest_row_is_in_force(self, stores, name):
        _, recovery = stores
        scope = f"bucket:{name}"
        assert recovery.controls().pause(scope) is None
        recovery.set_flag(f"pause:{scope}", {"paused": True}, reason="storm", who="ana")
        pause = recovery.controls().pause(scope)
        assert (pause.reason, pause.who) == ("storm", "ana")
        assert pause.at > LONG_AGO
        assert scope in recovery.controls().paused_scopes()
        recovery.set_flag(f"pause:{scope}", {"paused": False}, reason="over", who="ben")
        assert recovery.controls().pause(scope) is None
        assert scope not in recovery.controls().paused_scopes()


class TestBreakers:
    def test_a_run_opens_it_once(self, stores, code):
        _, recovery = stores
        trip = Trip(f"run-{code}", code, "no bucket. Remedy: make it.")
        assert recovery.trip([trip, trip]) == 1
        assert recovery.trip([trip]) == 0
        found = breaker(recovery, code)
        assert (found.state, found.trips, found.run_id) == ("open", 1, f"run-{code}")
        assert found.message == "no bucket. Remedy: make it."
        assert 0 < found.retry_in_seconds <= 30

    def test_runs_that_were_under_way_do_not_make_it_worse(self, stores, code):
        _, recovery = stores
        assert recovery.trip([Trip(f"{n}-{code}", code, f"message {n}") for n in range(5)]) == 5
        found = breaker(recovery, code)
        assert (found.trips, found.message) == (1, "message 4")

    def test_a_probe_before_its_time_changes_nothing(self, stores, code):
        _, recovery = stores
        recovery.trip([Trip(f"run-{code}", code, "m")])
        recovery.probed(passed=True)
        assert breaker(recovery, code).state == "open"

    def test_a_probe_in_time_lets_a_batch_be_tried_and_its_outcome_closes_it(
        self, stores, name, code, hour_passes
    ):
        ledger, recovery = stores
        recovery.trip([Trip(f"run-{code}", code, "m")])
        hour_passes(code)
        assert breaker(recovery, code).retry_in_seconds < 0
        recovery.probed(passed=True)
        assert breaker(recovery, code).state == "half_open"
        arrive(ledger, name)
        claim(ledger, name)
        assert breaker(recovery, code).state == "half_open", "a claim proves nothing"
        run(ledger, name)
        assert breaker(recovery, code) is None

    def test_a_probe_that_failed_says_why_and_puts_it_off(self, stores, code, hour_passes):
        _, recovery = stores
        recovery.trip([Trip(f"run-{code}", code, "m")])
        hour_passes(code)
        recovery.probed(passed=False, said="still no bucket")
        found = breaker(recovery, code)
        assert (found.state, found.message) == ("open", "still no bucket")
        assert found.retry_in_seconds > 0

    def test_a_trial_that_failed_opens_it_for_longer(self, stores, code, hour_passes):
        _, recovery = stores
        recovery.trip([Trip(f"first-{code}", code, "m")])
        hour_passes(code)
        recovery.probed(passed=True)
        recovery.trip([Trip(f"second-{code}", code, "again")])
        found = breaker(recovery, code)
        assert (found.state, found.trips, found.message) == ("open", 2, "again")
        assert 30 < found.retry_in_seconds <= 60


def test_records_keep_their_place_in_a_message(stores, name):
    """The rows that these functions read are those of `register`: a message with odd bytes."""
    ledger, recovery = stores
    arrive(ledger, name, MessageRecord("t", 9, 1, 1, None, b"\xff\x00", (("h", b"\xff"),)))
    assert waits(recovery, name).content_version == VERSION
