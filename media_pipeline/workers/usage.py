"""What a pool got done and what it took: files by kind, seconds, most memory by lane."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from media_pipeline.workers.lanes import LaneName


class Usage:
    """Counts for as long as the pool lives. `peak_bytes`: of one worker, by lane."""

    def __init__(self) -> None:
        self.files: Counter[str] = Counter()
        self.peak_bytes: dict[LaneName, int] = {}
        self._busy_seconds: defaultdict[str, float] = defaultdict(float)
        self._running_seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """The time in which workers could have had work."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._running_seconds += time.monotonic() - started

    def done(self, kind: str, seconds: float) -> None:
        """One file of that kind kept one worker for so long."""
        self.files[kind] += 1
        self._busy_seconds[kind] += seconds

    def held(self, lane: LaneName, memory_bytes: int) -> None:
        """A worker of that lane was seen holding so much."""
        self.peak_bytes[lane] = max(self.peak_bytes.get(lane, 0), memory_bytes)

    def summary(self) -> dict[str, object]:
        """For a log: throughput of the pool, seconds per file by kind, memory in MiB by lane."""
        total = self.files.total()
        return {
            "files": total,
            "files_per_second": round(total / max(self._running_seconds, 1e-9), 1),
            "seconds_per_file": {
                kind: round(self._busy_seconds[kind] / count, 4)
                for kind, count in sorted(self.files.items())
            },
            "peak_mib": {lane: size >> 20 for lane, size in sorted(self.peak_bytes.items())},
        }
