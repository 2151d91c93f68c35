"""At least once: nothing is marked that was not acknowledged."""

import pytest

from media_pipeline.domain.ports import OutgoingEvent
from media_pipeline.errors import TransientError
from sensors.outbox_relay import relay
from tests.fakes.event_log import FakeEventLog
from tests.fakes.metadata_store import FakeMetadataStore


@pytest.fixture
def ledger():
    store = FakeMetadataStore()
    for number in range(25):
        store.outbox[str(number)] = OutgoingEvent(str(number), "out", b"k", str(number).encode())
    return store


@pytest.fixture
def log():
    fake = FakeEventLog()
    fake.create("out", 1)
    return fake


def test_everything_goes_out_in_order(ledger, log):
    done = relay(ledger, log, chunk=10, deadline_seconds=10)
    assert (done.events, done.more) == (25, False)
    assert [record.value for record in log.topics["out"][0]] == [
        str(number).encode() for number in range(25)
    ]
    assert relay(ledger, log, chunk=10, deadline_seconds=10).events == 0


def test_a_refused_publication_marks_nothing(ledger, log):
    class Refusing:
        def publish(self, events):
            raise TransientError("away", remedy="wait")

    with pytest.raises(TransientError):
        relay(ledger, Refusing(), chunk=10, deadline_seconds=10)
    assert ledger.counts().unpublished == 25


def test_a_crash_between_publishing_and_marking_publishes_again(ledger, log):
    class Crashing(FakeMetadataStore):
        def mark_published(self, event_ids):
            raise TransientError("the reply was lost", remedy="wait")

    crashing = Crashing()
    crashing.outbox = ledger.outbox
    with pytest.raises(TransientError):
        relay(crashing, log, chunk=10, deadline_seconds=10)
    relay(ledger, log, chunk=10, deadline_seconds=10)
    values = [int(record.value) for record in log.topics["out"][0]]
    assert sorted(set(values)) == list(range(25))
    assert len(values) == 35


def test_it_looks_again_while_it_lingers_and_sends_what_came_meanwhile(ledger, log):
    paused = []

    def wait(seconds):
        paused.append(seconds)
        ledger.outbox["late"] = OutgoingEvent("late", "out", b"k", b"late")

    done = relay(ledger, log, chunk=100, deadline_seconds=10, linger_seconds=0.6, wait=wait)
    assert done.events == 26
    assert len(paused) >= 1
    assert log.topics["out"][0][-1].value == b"late"


def test_an_idle_tick_does_not_linger(log):
    def never(seconds):
        raise AssertionError("waited")

    assert relay(FakeMetadataStore(), log, chunk=10, deadline_seconds=10, wait=never).events == 0


def test_a_passed_deadline_says_that_more_is_waiting(ledger, log):
    done = relay(ledger, log, chunk=10, deadline_seconds=0)
    assert (done.events, done.more) == (0, True)
