"""CPU seconds of this process by phase: where a run's own time goes, decoders aside.

Summed over all threads since the process started; a run has a process of its own.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Phase = Literal["claim", "download", "upload", "record", "events"]

_seconds: defaultdict[str, float] = defaultdict(float)
_lock = threading.Lock()


@contextmanager
def phase(name: Phase) -> Iterator[None]:
    """Count the calling thread's CPU time inside the block; blocks must not nest."""
    started = time.thread_time()
    try:
        yield
    finally:
        spent = time.thread_time() - started
        with _lock:
            _seconds[name] += spent


def cpu_seconds() -> dict[str, float]:
    """Phase -> CPU seconds so far, and `process`: all of this process, phases included."""
    with _lock:
        found = {name: round(value, 3) for name, value in sorted(_seconds.items())}
    return {**found, "process": round(time.process_time(), 3)}
