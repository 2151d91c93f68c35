"""A value with an end: fetched anew early, kept through outages until that end, never beyond."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from media_pipeline.errors import SystemicError, TransientError

Value = TypeVar("Value")
_log = logging.getLogger(__name__)

#: Part of its life after which a value is fetched anew; jitter keeps a fleet from doing so at once.
RENEW_AFTER = (0.60, 0.667)
#: While the other side is away it is asked again this often, seconds.
ASK_AGAIN = 10.0


def renewal_delay(seconds: float) -> float:
    """When to renew what lives `seconds`, from now."""
    return seconds * random.uniform(*RENEW_AFTER)  # noqa: S311  # spreads load, no secret


@dataclass(frozen=True, slots=True)
class Lease(Generic[Value]):
    """What was fetched, how long it may be used, and when to fetch anew (seconds from now)."""

    value: Value = field(repr=False)
    seconds: float
    fresh_seconds: float | None = None


class Leased(Generic[Value]):
    """The newest value of `fetch`; safe to use from many threads, and one fetches for all."""

    def __init__(
        self, fetch: Callable[[], Lease[Value]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._held: tuple[Value, float] | None = None  # value, end of its life
        self._due = 0.0
        self._is_refused = False

    def get(self) -> Value:
        """The value; fetched anew when it is due, and the old one while that fails and it lives."""
        held, now = self._held, self._clock()
        alive = held is not None and now < held[1]
        if held is not None and alive and now < self._due:
            return held[0]
        # While the value is good, one thread renews it and the others go on with it.
        if not self._lock.acquire(blocking=not alive or self._is_refused):
            assert held is not None  # noqa: S101  # alive
            return held[0]
        try:
            return self._renewed()
        finally:
            self._lock.release()

    def seconds_left(self) -> float | None:
        """How long the held value may still be used; None when nothing is held."""
        return None if self._held is None else self._held[1] - self._clock()

    def refused(self, is_held: Callable[[Value], bool]) -> None:
        """Fetch anew at the next use, unless the refused value was replaced since."""
        with self._lock:
            if self._held is not None and is_held(self._held[0]):
                self._due = 0.0
                self._is_refused = True

    def _renewed(self) -> Value:
        now = self._clock()
        if self._held is not None and now < min(self._held[1], self._due):
            return self._held[0]  # another thread was here first
        try:
            lease = self._fetch()
        except (TransientError, SystemicError) as error:
            if self._held is None or now >= self._held[1]:
                raise
            _log.warning("a credential was not renewed and is used on: %s", error)
            # Still valid: whoever is asked with it will say so, or refuse it better than we could.
            self._due = self._clock() + ASK_AGAIN
            return self._held[0]
        self._is_refused = False
        fresh = lease.fresh_seconds
        self._due = now + (renewal_delay(lease.seconds) if fresh is None else fresh)
        self._held = (lease.value, now + lease.seconds)
        return lease.value
