import os
import signal

import pytest

from media_pipeline.cli.dlq_sender import (
    LEASE,
    LEASE_SECONDS,
    Journal,
    ReplayLease,
    Sender,
    Stop,
    stop_on_interrupt,
)
from media_pipeline.cli.dlq_source import LedgerSource
from media_pipeline.dead_letters.replay_plan import ReplayRules, chosen
from media_pipeline.domain.dead_letters import LetterAction, LetterFilter
from media_pipeline.errors import SystemicError, TransientError
from tests.fakes.dead_letter_store import FakeDeadLetterStore
from tests.fakes.event_log import FakeEventLog
from tests.fakes.ledger_story import TOPIC, bury
from tests.fakes.metadata_store import FakeMetadataStore


class Scene:
    """25 dead letters, a broker, a clock that waiting moves on."""

    def __init__(self, letters=25) -> None:
        self.ledger = FakeMetadataStore()
        self.store = FakeDeadLetterStore(self.ledger)
        self.events = FakeEventLog(**{TOPIC: 1})
        self.ids = [bury(self.ledger, f"a-{number}") for number in range(letters)]
        self.now = 100.0
        self.numbered = 0

    def open_letters(self):
        wanted = LetterFilter(states=("open", "validated"))
        letters = LedgerSource(self.store, "test").letters(wanted, records=True)
        return (letter for letter, reason in chosen(letters, ReplayRules()) if reason is None)

    def sender(self, *, stop=None, ledger=True, journal=None, rate=10.0, sink=None, **more):
        scene = self
        self.numbered += 1

        class Waiting(Stop):
            def wait(self, seconds):
                scene.now += max(0.0, seconds)
                return self.asked

        return Sender(
            sink or self.events, TOPIC, self.store if ledger else None,
            LetterAction(f"replay-{self.numbered}", "replay", "anna", "host", {}), rate,
            Journal(journal), stop or Waiting(), clock=lambda: self.now, **more,
        )  # fmt: skip

    @property
    def sent(self):
        return self.events.topics[TOPIC][0]

    def states(self):
        return [self.ledger.letters[one]["state"] for one in self.ids]


def test_all_are_sent_in_order_at_the_rate_and_noted():
    scene = Scene()
    sender = scene.sender()
    assert sender.send(scene.open_letters())
    assert [record.key.decode() for record in scene.sent] == [f"a-{n}" for n in range(25)]
    assert sender.sent == scene.ids
    assert scene.now == 100.0 + 2.0, "25 at 10 per second: two full portions before the third"
    assert set(scene.states()) == {"replayed"}
    history = scene.store.history(scene.ids[0])
    assert [(one.what, one.who) for one in history] == [("buried", None), ("replay", "anna")]


def test_a_second_replay_finds_nothing_to_send():
    scene = Scene()
    scene.sender().send(scene.open_letters())
    second = scene.sender()
    assert second.send(scene.open_letters())
    assert second.sent == []
    assert len(scene.sent) == 25


@pytest.mark.parametrize("kept", ["ledger", "journal"])
def test_stopped_and_resumed_sends_each_once(kept, tmp_path):
    scene = Scene()
    options = {} if kept == "ledger" else {"ledger": False, "journal": tmp_path / "journal"}
    letters = list(scene.open_letters())

    def left():
        if kept == "ledger":
            return scene.open_letters()
        usual = chosen(letters, ReplayRules(), Journal(options["journal"]).done)
        return (letter for letter, reason in usual if reason is None)

    first = scene.sender(**options)
    first.before_each = lambda page: first.stop.ask() if scene.sent else None
    assert not first.send(left())
    assert len(first.sent) == 20, "the portion under way is ended"
    rest = scene.sender(**options)
    assert rest.send(left())
    assert first.sent + rest.sent == scene.ids
    assert len(scene.sent) == 25


class DyingLedger(FakeDeadLetterStore):
    """Goes away after the first portion was published."""

    def act(self, action, letters):
        if letters:
            raise TransientError("gone", remedy="wait")
        return super().act(action, letters)


def test_a_crash_between_publishing_and_noting_loses_nothing():
    scene = Scene(5)
    sender = scene.sender()
    sender.ledger = DyingLedger(scene.ledger)
    with pytest.raises(TransientError):
        sender.send(scene.open_letters())
    assert set(scene.states()) == {"open"}
    assert scene.sender().send(scene.open_letters())
    assert {record.key for record in scene.sent} == {f"a-{n}".encode() for n in range(5)}
    assert len(scene.sent) == 10, "twice, which the ledger recognises; never lost"


def test_what_cannot_be_published_stays_open():
    class Away:
        def publish(self, events):
            raise TransientError("no broker", remedy="wait")

    scene = Scene(3)
    with pytest.raises(TransientError):
        scene.sender(sink=Away()).send(scene.open_letters())
    assert set(scene.states()) == {"open"}
    assert "replay-1" in scene.store.actions, "the try is in the audit"


def test_a_cut_off_line_of_the_journal_is_no_id(tmp_path):
    path = tmp_path / "journal"
    path.write_text("76b1b46f-3f30-5038-aacb-e6b1a6b46291\n0a3c5b27-b8")
    assert "76b1b46f-3f30-5038-aacb-e6b1a6b46291" in Journal(path).done
    assert Journal(None).done == frozenset()


def test_the_second_operator_is_refused_and_told_who_is_first():
    scene = Scene(1)
    second = ReplayLease(scene.store, "ben", "host-2", lambda: scene.now)
    with (
        ReplayLease(scene.store, "anna", "host-1", lambda: scene.now),
        pytest.raises(SystemicError, match=r"anna \(pid \d+\) on host-1 is replaying"),
        second,
    ):
        raise AssertionError("unreachable")
    with ReplayLease(scene.store, "ben", "host-2", lambda: scene.now):
        assert LEASE in scene.store.leases
    assert not scene.store.leases, "given back"


def test_a_lease_that_was_lost_stops_the_replay():
    scene = Scene()
    with ReplayLease(scene.store, "anna", "host-1", lambda: scene.now) as lease:
        sender = scene.sender(lease=lease)

        def somebody_takes_it(page):
            if not scene.sent:
                scene.store.leases[LEASE].update(token="other", holder="ben")
                scene.now += LEASE_SECONDS

        sender.before_each = somebody_takes_it
        with pytest.raises(SystemicError, match="ben on host-1 is replaying"):
            sender.send(scene.open_letters())
    assert len(scene.sent) == 10


def test_the_first_interrupt_asks_and_the_second_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with stop_on_interrupt() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
