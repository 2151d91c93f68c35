"""Asking several sources at once, each within a deadline; one that hangs holds up nobody."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a source told, and the seconds that it took; `value` may well be None."""

    value: T
    seconds: float


class Source(Generic[T]):
    """A dependency that figures come from.

    At most one question is under way: scrapes that overlap share it, and a source that hangs
    gathers no threads.
    """

    def __init__(self, name: str, read: Callable[[], T]) -> None:
        self.name = name
        self._read = read
        self._lock = threading.Lock()
        self._pending: Future[Answer[T]] | None = None
        self._was_up = True

    def ask(self) -> Future[Answer[T]]:
        """Start reading, or join the reading that is under way."""
        with self._lock:
            if self._pending is None or self._pending.done():
                pending: Future[Answer[T]] = Future()
                self._pending = pending
                # A daemon thread: one that hangs must not keep the process from ending.
                threading.Thread(
                    target=self._answer, args=(pending,), name=f"read-{self.name}", daemon=True
                ).start()
            return self._pending

    def _answer(self, pending: Future[Answer[T]]) -> None:
        started = time.monotonic()
        try:
            pending.set_result(Answer(self._read(), time.monotonic() - started))
        except Exception as error:  # noqa: BLE001  # whatever it is, it reaches who waits
            pending.set_exception(error)

    def answer(self, pending: Future[Answer[T]], deadline: float) -> Answer[T] | None:
        """The answer by `deadline` (monotonic); None when the source failed or is late.

        A change between up and down is logged once, with the reason.
        """
        try:
            found = pending.result(timeout=max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            self._note_down("no answer in time")
            return None
        except Exception as error:  # noqa: BLE001  # logged, and told as dependency_up 0
            self._note_down(f"{type(error).__name__}: {error}")
            return None
        if not self._was_up:
            _log.info("%s answers again", self.name)
        self._was_up = True
        return found

    def _note_down(self, reason: str) -> None:
        if self._was_up:
            _log.warning("%s does not answer: %s", self.name, reason)
        self._was_up = False
