"""CPU seconds of a tree of processes by role, read from /proc while they live."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
#: First match wins; each mark is looked for in the command line.
ROLES = (
    ("media_pipeline.workers.zygote", "process"),
    ("spawn_main", "run"),
    ("execute_run", "run"),
    ("dagster._daemon", "sensor"),
    ("api grpc", "sensor"),
    ("code-server", "sensor"),
    ("dagster_webserver", "webserver"),
    ("dagster dev", "webserver"),
    ("weed", "object store"),
    ("tansu", "event log"),
    ("postgres", "database"),
    ("local_stack.metadata_server", "PostgREST stand-in"),
    ("bao", "vault"),
)


class CpuByRole:
    """Use as a context manager; `seconds` holds what was used inside the block, by role."""

    def __init__(
        self, named: Mapping[int, str] | None = None, interval_seconds: float = 0.1
    ) -> None:
        """`named`: roles of process ids and of their children, which marks do not tell."""
        self._named = dict(named or {})
        self._interval = interval_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._first: dict[int, float] = {}
        self._last: dict[int, tuple[str, float]] = {}
        self._names: dict[int, str] = {}

    def __enter__(self) -> Self:
        self._first = {pid: used for pid, (_, used) in self._look().items()}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._last.update(self._look())

    @property
    def seconds(self) -> dict[str, float]:
        found: Counter[str] = Counter()
        for pid, (role, used) in self._last.items():
            found[role] += used - self._first.get(pid, 0.0)
        return {role: round(used, 2) for role, used in found.most_common()}

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            self._last.update(self._look())

    def _look(self) -> dict[int, tuple[str, float]]:
        """pid -> role, CPU seconds so far; dead children count for whoever reaped them not."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            pid = int(entry.name)
            try:
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if pid not in self._names or pid not in self._last:
                    self._names[pid] = (entry / "cmdline").read_bytes().decode(errors="replace")
            except (OSError, IndexError):
                continue  # it ended in between
            name = self._names[pid].replace("\0", " ")
            role = next((role for mark, role in ROLES if mark in name), None)
            role = role or self._named.get(pid) or self._named.get(int(stat[1]))
            if role:
                found[pid] = (role, (int(stat[11]) + int(stat[12])) / _TICKS)
        return found
