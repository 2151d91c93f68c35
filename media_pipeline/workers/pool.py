"""The pool: hands files to warm workers and turns whatever happens into a named outcome.

One thread, one selector. A worker has one file at a time; results come in the order in
which they finish, so a slow file delays nobody. Deadline passed: the worker's group is
killed, outcome `timeout`. Any other death: the file is tried twice more on fresh workers,
then `crash`. Neighbours notice nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from media_pipeline.domain.outcome import Code, ProcessorResult
from media_pipeline.errors import SystemicError
from media_pipeline.workers import wire
from media_pipeline.workers.limits import WorkerLimits
from media_pipeline.workers.zygote import PID, READY, SPAWN

CRASH_TRIES = 3
#: A worker that started to answer gets this long to finish its frame.
_FRAME_SECONDS = 30.0
_ZYGOTE_SECONDS = 60.0
_PROCESSORS = "media_pipeline.processing.processors"


@dataclass(frozen=True, slots=True)
class Task:
    """One file for one processor; `deadline_seconds` is wall time inside the worker."""

    task_id: str
    kind: str
    path: Path
    declared_type: str | None
    params: Mapping[str, object]
    deadline_seconds: float


@dataclass(frozen=True, slots=True)
class TaskDone:
    """How one task ended."""

    task_id: str
    result: ProcessorResult


class _Worker:
    """The pool's side of one worker process."""

    def __init__(self, pid: int, sock: socket.socket) -> None:
        self.pid = pid
        self.sock = sock
        self.served = 0
        self.task: Task | None = None
        self.tries = 0
        self.deadline = 0.0

    def give(self, task: Task, tries: int) -> None:
        self.task, self.tries = task, tries
        self.deadline = time.monotonic() + task.deadline_seconds
        header = {
            "kind": task.kind,
            "path": str(task.path),
            "declared_type": task.declared_type,
            "params": dict(task.params),
        }
        # A worker that died while idle shows when its socket is read.
        with contextlib.suppress(OSError):
            wire.send(self.sock, header)

    def kill(self) -> None:
        for end in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                end(self.pid, signal.SIGKILL)
        self.sock.close()


class WorkerPool:
    """Use as a context manager; one `run` at a time. `stats` counts what happened."""

    def __init__(
        self,
        size: int | None = None,
        limits: WorkerLimits | None = None,
        *,
        processors: str = _PROCESSORS,
    ) -> None:
        self.size = size or available_cpus()
        self.stats: Counter[str] = Counter()
        self._limits = limits or WorkerLimits()
        self._processors = processors
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._idle: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill every worker and the zygote; safe to call twice."""
        for worker in self._idle:
            worker.kill()
        self._idle.clear()
        self._stop_zygote()

    def run(self, tasks: Iterable[Task]) -> Iterator[TaskDone]:
        """Results as they come. Tasks are pulled when a worker is free, never far ahead."""
        waiting: deque[tuple[Task, int]] = deque()
        source = iter(tasks)
        exhausted = False
        with selectors.DefaultSelector() as selector:
            try:
                while True:
                    while not exhausted and len(selector.get_map()) < self.size:
                        if not waiting:
                            task = next(source, None)
                            if task is None:
                                exhausted = True
                                break
                            waiting.append((task, 1))
                        self._dispatch(selector, *waiting.popleft())
                    while waiting and len(selector.get_map()) < self.size:
                        self._dispatch(selector, *waiting.popleft())
                    if not selector.get_map():
                        return
                    for worker in self._wait(selector):
                        done = self._collect(worker, selector)
                        if done is None:
                            assert worker.task is not None  # noqa: S101  # busy workers have one
                            waiting.append((worker.task, worker.tries + 1))
                        else:
                            yield done
            finally:
                # Left midway: what is still decoding is of no use to anybody.
                for key in list(selector.get_map().values()):
                    key.data.kill()

    def _dispatch(self, selector: selectors.BaseSelector, task: Task, tries: int) -> None:
        # A file that killed a worker gets a fresh one: the last may have been damaged.
        worker = self._idle.pop() if self._idle and tries == 1 else self._spawn()
        worker.give(task, tries)
        selector.register(worker.sock, selectors.EVENT_READ, worker)

    @staticmethod
    def _wait(selector: selectors.BaseSelector) -> list[_Worker]:
        """Workers that answered, died or ran out of time; at least one."""
        while True:
            busy = [key.data for key in selector.get_map().values()]
            pause = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
            ready = [key.data for key, _ in selector.select(pause)]
            now = time.monotonic()
            late = [worker for worker in busy if worker not in ready and worker.deadline <= now]
            if ready or late:
                return [*ready, *late]

    def _collect(self, worker: _Worker, selector: selectors.BaseSelector) -> TaskDone | None:
        """The outcome of the worker's task; None when it is to be tried again."""
        task = worker.task
        assert task is not None  # noqa: S101  # only busy workers are collected
        answered = worker.deadline > time.monotonic() or _readable(worker.sock)
        selector.unregister(worker.sock)
        result = None
        if answered:
            try:
                worker.sock.settimeout(_FRAME_SECONDS)
                result = wire.receive_result(worker.sock)
            except (wire.BrokenFrameError, OSError):
                self.stats["worker_deaths"] += 1
        else:
            self.stats["timeouts"] += 1
            result = ProcessorResult(
                Code.TIMEOUT,
                f"not done after {task.deadline_seconds:g} s",
                seconds=task.deadline_seconds,
            )
        worker.served += 1
        if result is None or not answered or worker.served >= self._limits.recycle_tasks:
            worker.kill()
        else:
            self._idle.append(worker)
        if result is not None:
            self.stats[str(result.code)] += 1
            return TaskDone(task.task_id, result)
        if worker.tries < CRASH_TRIES:
            return None
        self.stats[str(Code.CRASH)] += 1
        message = f"the decoder died {worker.tries} times on this file"
        return TaskDone(task.task_id, ProcessorResult(Code.CRASH, message))

    def _spawn(self) -> _Worker:
        for _ in range(2):
            control = self._running_zygote()
            ours, theirs = socket.socketpair()
            try:
                socket.send_fds(control, [SPAWN], [theirs.fileno()])
                answer = control.recv(PID.size, socket.MSG_WAITALL)
            except OSError:
                answer = b""
            theirs.close()
            if len(answer) == PID.size:
                self.stats["workers_started"] += 1
                return _Worker(PID.unpack(answer)[0], ours)
            ours.close()
            self._stop_zygote()  # it died: its workers are gone too, start over
            self.stats["zygote_restarts"] += 1
        raise _zygote_failure("it dies when it forks")

    def _running_zygote(self) -> socket.socket:
        if self._control is not None:
            return self._control
        ours, theirs = socket.socketpair()
        # -E and an empty environment: nothing of the run's secrets reaches a decoder.
        command = [
            sys.executable,
            "-m",
            "media_pipeline.workers.zygote",
            str(theirs.fileno()),
            json.dumps(asdict(self._limits)),
            self._processors,
        ]
        self._zygote = subprocess.Popen(  # noqa: S603  # ourselves
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={"PYTHONPATH": os.pathsep.join(sys.path), "LANG": "C.UTF-8"},
            start_new_session=True,
        )
        theirs.close()
        ours.settimeout(_ZYGOTE_SECONDS)
        try:
            ready = ours.recv(1) == READY
        except TimeoutError:
            ready = False
        if not ready:
            ours.close()
            raise _zygote_failure("it did not come up; its output is in the run's log")
        self._control = ours
        return ours

    def _stop_zygote(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._zygote is not None:
            self._zygote.kill()
            self._zygote.wait()
            self._zygote = None


def available_cpus() -> int:
    """CPUs that this process may use: affinity, cut by the cgroup's quota."""
    cpus = len(os.sched_getaffinity(0))
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.exists():
        allowed, period = quota.read_text().split()
        if allowed != "max":
            cpus = min(cpus, max(1, int(allowed) // int(period)))
    return max(1, cpus)


def _readable(sock: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _zygote_failure(what: str) -> SystemicError:
    return SystemicError(
        f"the worker zygote cannot be used: {what}.",
        remedy="run `python -m media_pipeline.workers.zygote` by hand in the image; check that"
        " processes and memory are not limited below what it needs.",
        code="workers_unavailable",
    )
