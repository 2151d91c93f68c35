"""The pool: hands files to warm workers and turns whatever happens into a named outcome.

One thread, one selector. A worker has one file at a time; results come in the order in
which they finish, so a slow file delays nobody. Deadline passed or memory exceeded: the
worker's group is killed, outcome `timeout` or `memory`. Any other death: the file is tried
twice more on fresh workers, then `crash`. Neighbours notice nothing.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from media_pipeline.domain.outcome import Code, ProcessorResult
from media_pipeline.workers import wire
from media_pipeline.workers.lanes import LANES, LaneName
from media_pipeline.workers.limits import WorkerLimits
from media_pipeline.workers.usage import Usage
from media_pipeline.workers.worker_process import WorkerProcess, Zygote

CRASH_TRIES = 3
#: A worker that started to answer gets this long to finish its frame.
_FRAME_SECONDS = 30.0
#: How often the memory of workers that are busy is looked at.
_WATCH_SECONDS = 0.2
#: Resident memory stays below the address space, which is what is limited.
_HUNGRY_SHARE = 0.5
_PROCESSORS = "media_pipeline.processing.processors"


@dataclass(frozen=True, slots=True)
class Task:
    """One file for one processor; `deadline_seconds` is wall time inside the worker.

    `content` is a file to be opened, or bytes.
    """

    task_id: str
    kind: str
    content: Path | bytes
    declared_type: str | None
    params: Mapping[str, object]
    deadline_seconds: float
    lane: LaneName = "decode"


@dataclass(frozen=True, slots=True)
class TaskDone:
    """How one task ended."""

    task_id: str
    result: ProcessorResult


@dataclass(slots=True)
class _Busy:
    """A worker and the file that it has."""

    worker: WorkerProcess
    task: Task
    tries: int
    started: float
    deadline: float
    ended: ProcessorResult | None = None  # decided by the pool: timeout, memory
    peak_bytes: int = 0  # the most memory that was seen in use


class WorkerPool:
    """Use as a context manager; one `run` at a time.

    `stats` counts what happened, `usage` what it took. `cage` tells what workers are confined
    by, once one runs.
    """

    def __init__(
        self,
        size: int | None = None,
        limits: WorkerLimits | None = None,
        *,
        processors: str = _PROCESSORS,
        lane_sizes: Mapping[LaneName, int] | None = None,
    ) -> None:
        """`lane_sizes`: lanes that may have fewer workers at a time than the pool."""
        self.size = size or available_cpus()
        self._lane_sizes = dict(lane_sizes or {})
        self.stats: Counter[str] = Counter()
        self.usage = Usage()
        self._limits = limits or WorkerLimits()
        self._zygote = Zygote(self._limits, processors, tempfile.gettempdir())
        self._idle: dict[LaneName, list[WorkerProcess]] = {name: [] for name in LANES}

    @property
    def cage(self) -> Mapping[str, str]:
        return self._zygote.report

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill every worker and the zygote; safe to call twice."""
        for lane, idle in self._idle.items():
            while idle:
                self._end(idle.pop(), lane)
        self._zygote.close()

    def run(self, tasks: Iterable[Task | None]) -> Iterator[TaskDone]:
        """Results as they come. Tasks are pulled when a worker is free, never far ahead.

        None instead of a task means: none now, ask again after the next result.
        """
        source = _Source(tasks)
        with self.usage.running(), selectors.DefaultSelector() as selector:
            try:
                while True:
                    while len(selector.get_map()) < self.size:
                        found = source.pull(lambda task: self._has_place(selector, task))
                        if found is None:
                            break
                        self._dispatch(selector, *found)
                    if not selector.get_map():
                        return
                    for busy in self._wait(selector):
                        done = self._collect(busy, selector)
                        if done is None:
                            source.again(busy.task, busy.tries + 1)
                        else:
                            yield done
            finally:
                # Left midway: what is still decoding is of no use to anybody.
                for key in list(selector.get_map().values()):
                    key.data.worker.kill()
                self._release_special()

    def _dispatch(self, selector: selectors.BaseSelector, task: Task, tries: int) -> None:
        header = {
            "kind": task.kind,
            "declared_type": task.declared_type,
            "params": dict(task.params),
        }
        idle = self._idle[task.lane]
        # A file that killed a worker gets a fresh one: the last may have been damaged.
        worker = idle.pop() if idle and tries == 1 else self._spawn(task.lane)
        # A worker that died while idle shows when its socket is read.
        with contextlib.suppress(OSError):
            if isinstance(task.content, bytes):
                wire.send_task(worker.sock, header, task.content)
            else:
                with task.content.open("rb") as file:
                    wire.send_task(worker.sock, header, file.fileno())
        now = time.monotonic()
        busy = _Busy(worker, task, tries, now, now + task.deadline_seconds)
        selector.register(worker.sock, selectors.EVENT_READ, busy)

    def _release_special(self) -> None:
        """Models and programs take memory that the next step has a better use for."""
        for name, idle in self._idle.items():
            while name != "decode" and idle:
                self._end(idle.pop(), name)

    def _end(self, worker: WorkerProcess, lane: LaneName) -> None:
        self.usage.held(lane, worker.peak_bytes())
        worker.kill()

    def _has_place(self, selector: selectors.BaseSelector, task: Task) -> bool:
        limit = self._lane_sizes.get(task.lane, self.size)
        busy: list[_Busy] = [key.data for key in selector.get_map().values()]
        return sum(one.task.lane == task.lane for one in busy) < limit

    def _spawn(self, lane: LaneName) -> WorkerProcess:
        self.stats["workers_started"] += 1
        return self._zygote.fork(lane)

    def _wait(self, selector: selectors.BaseSelector) -> list[_Busy]:
        """Workers that answered, died, ran out of time or took too much memory; at least one."""
        while True:
            everybody = [key.data for key in selector.get_map().values()]
            first = min(busy.deadline for busy in everybody) - time.monotonic()
            ready = [key.data for key, _ in selector.select(max(0.0, min(first, _WATCH_SECONDS)))]
            for busy in everybody:
                if not any(busy is one for one in ready):
                    busy.ended = self._overrun(busy)
            ended = [busy for busy in everybody if busy.ended]
            if ready or ended:
                return [*ready, *ended]

    def _overrun(self, busy: _Busy) -> ProcessorResult | None:
        seconds, limit = busy.task.deadline_seconds, self._limits.memory_bytes
        if busy.deadline <= time.monotonic():
            return ProcessorResult(Code.TIMEOUT, f"not done after {seconds:g} s", seconds=seconds)
        busy.peak_bytes = max(busy.peak_bytes, busy.worker.resident_bytes())
        if busy.peak_bytes > limit:
            return ProcessorResult(Code.MEMORY, f"needs more than {limit} bytes of memory")
        return None

    def _died_of_hunger(self, busy: _Busy) -> ProcessorResult | None:
        """Decoders that do not bear a refused allocation die of it: that is no accident, and
        would happen again."""
        if busy.peak_bytes < self._limits.memory_bytes * _HUNGRY_SHARE:
            return None
        held, limit = busy.peak_bytes, self._limits.memory_bytes
        return ProcessorResult(
            Code.MEMORY, f"the decoder died holding {held} bytes, the limit is {limit}"
        )

    def _collect(self, busy: _Busy, selector: selectors.BaseSelector) -> TaskDone | None:
        """The outcome of the worker's task; None when it is to be tried again."""
        worker, task = busy.worker, busy.task
        selector.unregister(worker.sock)
        result, alive = busy.ended, False
        if result is None:
            try:
                worker.sock.settimeout(_FRAME_SECONDS)
                result, alive = wire.receive_result(worker.sock), True
            except (wire.BrokenFrameError, OSError):
                self.stats["worker_deaths"] += 1
                result = self._died_of_hunger(busy)
        else:
            self.stats["workers_killed"] += 1
        worker.served += 1
        self.usage.held(task.lane, busy.peak_bytes)
        if alive and worker.served < self._limits.recycle_tasks:
            self._idle[task.lane].append(worker)
        else:
            self._end(worker, task.lane)
        if result is None and busy.tries < CRASH_TRIES:
            return None
        if result is None:
            message = f"the decoder died {busy.tries} times on this file"
            result = ProcessorResult(Code.CRASH, message)
        self.stats[str(result.code)] += 1
        self.usage.done(task.kind, time.monotonic() - busy.started)
        return TaskDone(task.task_id, result)


class _Source:
    """The tasks still to be given out: those to be tried again, held back, and to come."""

    def __init__(self, tasks: Iterable[Task | None]) -> None:
        self._tasks = iter(tasks)
        self._waiting: deque[tuple[Task, int]] = deque()

    def again(self, task: Task, tries: int) -> None:
        self._waiting.append((task, tries))

    def pull(self, has_place: Callable[[Task], bool]) -> tuple[Task, int] | None:
        """The next task with a place for it, and which try it is; None when there is none now.

        At most one task is held back for want of a place: the source is not drained.
        """
        for index, (task, tries) in enumerate(self._waiting):
            if has_place(task):
                del self._waiting[index]
                return task, tries
        if self._waiting:
            return None
        new = next(self._tasks, None)
        if new is None:
            return None
        if not has_place(new):
            self._waiting.append((new, 1))
            return None
        return new, 1


def available_cpus() -> int:
    """CPUs that this process may use: affinity, cut by the cgroup's quota."""
    cpus = len(os.sched_getaffinity(0))
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.exists():
        allowed, period = quota.read_text().split()
        if allowed != "max":
            cpus = min(cpus, max(1, int(allowed) // int(period)))
    return max(1, cpus)
