"""Sending dead letters again: at a rate, one operator at a time, never half without saying so."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from media_pipeline.cli.dlq_source import in_pages
from media_pipeline.dead_letters.replay_plan import replay_event
from media_pipeline.domain.dead_letters import DeadLetterStore, Letter, LetterAction
from media_pipeline.domain.ports import EventSink, OutgoingEvent
from media_pipeline.errors import SystemicError

LEASE = "dead-letter-replay"
#: Longer than a publish and a ledger call may take with all their retries.
LEASE_SECONDS = 180
_MAX_CHUNK = 50


class ReplayLease:
    """The ledger's lease: the second operator is told who is first, and at what."""

    def __init__(  # who, where and what
        self,
        ledger: DeadLetterStore,
        who: str,
        host: str,
        clock: Callable[[], float],
        name: str = LEASE,
        doing: str = "replaying dead letters",
    ) -> None:
        self._ledger = ledger
        self._name = name
        self._doing = doing
        self._who = f"{who} (pid {os.getpid()})"
        self._host = host
        self._token = str(uuid.uuid4())
        self._clock = clock
        self._renewed = 0.0

    def __enter__(self) -> Self:
        self._take()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ledger.release_lease(self._name, self._token)

    def renew(self) -> None:
        """Before each portion; SystemicError when somebody else has it by now."""
        if self._clock() - self._renewed > LEASE_SECONDS / 4:
            self._take()

    def _take(self) -> None:
        lease = self._ledger.take_lease(
            self._name, self._token, self._who, self._host, LEASE_SECONDS
        )
        if not lease.granted:
            raise SystemicError(
                f"{lease.holder} on {lease.host} is {self._doing} since {lease.since}.",
                remedy=f"wait for the end, or until {lease.expires_at} if that process is gone.",
                code="replay_under_way",
            )
        self._renewed = self._clock()


class Journal:
    """Ids that were sent, one per line, on disk before the next portion goes out."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        text = path.read_text() if path and path.exists() else ""
        # A line that was cut off is no id: that letter is sent again, which is harmless.
        self.done = frozenset(line.strip() for line in text.splitlines() if line.strip())

    def note(self, letters: Sequence[Letter]) -> None:
        if self._path is None:
            return
        with self._path.open("a") as file:
            file.write("".join(f"{letter.dlq_id}\n" for letter in letters))
            file.flush()
            os.fsync(file.fileno())


class Stop:
    """Set by the first Ctrl-C; the second one interrupts at once."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def asked(self) -> bool:
        return self._event.is_set()

    def ask(self) -> None:
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until somebody asks to stop; answers whether they did."""
        return self._event.wait(max(0.0, seconds))


@contextmanager
def stop_on_interrupt() -> Iterator[Stop]:
    """Ctrl-C ends the work after the portion that is under way."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        if stop.asked:
            raise KeyboardInterrupt
        stop.ask()

    before = {one: signal.signal(one, handle) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@dataclass
class Sender:
    """Publishes letters, then notes them: in the ledger, in the journal.

    In this order a crash in between sends a message twice, which the ledger recognises; the
    other order would lose it.
    """

    sink: EventSink
    topic: str
    ledger: DeadLetterStore | None
    action: LetterAction
    rate: float
    journal: Journal
    stop: Stop
    lease: ReplayLease | None = None
    before_each: Callable[[Sequence[Letter]], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    sent: list[str] = field(default_factory=list)

    def send(self, letters: Iterator[Letter]) -> bool:
        """Send all; False when it was stopped before the end. Raises what publishing raises."""
        started = self.clock()
        chunk = max(1, min(_MAX_CHUNK, int(self.rate)))
        if self.ledger is not None:
            self.ledger.act(self.action, [])
        for page in in_pages(letters, chunk):
            if self.stop.wait(started + len(self.sent) / self.rate - self.clock()):
                return False
            if self.lease is not None:
                self.lease.renew()
            self.before_each(page)
            self.sink.publish([self._event(letter) for letter in page])
            self.sent += [letter.dlq_id for letter in page]
            self.journal.note(page)
            if self.ledger is not None:
                self.ledger.act(self.action, page)
        return True

    def _event(self, letter: Letter) -> OutgoingEvent:
        assert letter.record is not None  # noqa: S101  # asked for with records
        return replay_event(letter, letter.record, self.action.action_id, self.topic)
