"""The relay as a process: it goes on through outages, and stops between two chunks."""

import threading

import pytest

from media_pipeline.cli.relay_command import run_until
from media_pipeline.domain.ports import OutgoingEvent
from media_pipeline.errors import SystemicError, TransientError
from sensors.outbox_relay import Relayed, relay
from tests.fakes.event_log import FakeEventLog
from tests.fakes.metadata_store import FakeMetadataStore


class Stop(threading.Event):
    """Set after so many rounds; its pauses pass at once and are remembered."""

    def __init__(self):
        super().__init__()
        self.pauses = []

    def wait(self, timeout=None):
        self.pauses.append(timeout)
        return self.is_set()


def rounds(stop, *answers):
    left = list(answers)

    def one():
        answer = left.pop(0)
        if not left:
            stop.set()
        if isinstance(answer, Exception):
            raise answer
        return Relayed(answer, more=False)

    return one


def test_it_counts_until_it_is_stopped(tmp_path):
    stop, heartbeat = Stop(), tmp_path / "alive"
    assert run_until(stop, rounds(stop, 3, 0, 4), heartbeat) == 7
    assert heartbeat.exists()


def test_an_outage_is_waited_for_longer_each_time_and_without_a_heartbeat(tmp_path):
    stop, away = Stop(), TransientError("no broker", remedy="wait")
    heartbeat = tmp_path / "alive"
    assert run_until(stop, rounds(stop, *[away] * 8), heartbeat) == 0
    assert not heartbeat.exists()
    assert all(0.5 <= pause <= 30 for pause in stop.pauses)
    assert stop.pauses[-1] > 10 * stop.pauses[0]


def test_what_nobody_can_wait_for_leaves():
    stop = Stop()
    with pytest.raises(SystemicError):
        run_until(stop, rounds(stop, SystemicError("refused", remedy="look"), 1), None)


def test_a_stop_lets_the_chunk_under_way_finish():
    ledger, log, stop = FakeMetadataStore(), FakeEventLog(out=1), Stop()
    for number in range(30):
        ledger.outbox[str(number)] = OutgoingEvent(str(number), "out", b"k", b"v")

    class Stopping:
        def publish(self, events):
            stop.set()
            log.publish(events)

    done = relay(ledger, Stopping(), chunk=10, deadline_seconds=10, stopped=stop.is_set)
    assert (done.events, done.more) == (10, True)
    assert ledger.counts().unpublished == 20
    assert len(log.topics["out"][0]) == 10
