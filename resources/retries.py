"""In-process retries: transient errors only, few, jittered and bounded in time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from media_pipeline.errors import TransientError

Answer = TypeVar("Answer")

TRIES = 4
TOTAL_SECONDS = 30.0
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 8.0


class RetryLaterError(TransientError):
    """Transient, and the other side said when to come back: `after_seconds`."""

    after_seconds: float = 0.0


def with_retries(
    call: Callable[[], Answer],
    *,
    tries: int = TRIES,
    total_seconds: float = TOTAL_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """`call()`, again after a TransientError: full jitter, at most `tries` and `total_seconds`.

    A server's own Retry-After is honoured when it fits into the budget; the last error leaves
    when the budget does not allow another try.
    """
    deadline = clock() + total_seconds
    for attempt in range(1, tries + 1):
        try:
            return call()
        except TransientError as error:
            pause = random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt))  # noqa: S311  # spreads load, no secret
            if isinstance(error, RetryLaterError):
                pause = max(pause, error.after_seconds)
            if attempt == tries or clock() + pause > deadline:
                raise
            sleep(pause)
    raise AssertionError("unreachable: tries is at least 1")
