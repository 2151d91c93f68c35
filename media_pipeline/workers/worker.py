"""What a forked worker does: one file at a time, read, process, answer."""

from __future__ import annotations

import os
import resource
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from media_pipeline.domain.outcome import Code, ProcessorResult
from media_pipeline.workers import wire
from media_pipeline.workers.lanes import Lane
from media_pipeline.workers.limits import WorkerLimits, allow_cpu, confine

#: kind, bytes, declared type, parameters -> result. Memory and CPU limits are in force.
Process = Callable[[str, bytes, str | None, Mapping[str, object]], ProcessorResult]


def serve(
    sock: socket.socket,
    process: Process,
    limits: WorkerLimits,
    lane: Lane,
    parent: int,
    base: Path,
) -> None:
    """Answer tasks until the pool closes the socket. Never returns normally.

    Its scratch directory `<base>/<pid>` is removed by the pool, which also sees it killed.
    """
    scratch = base / str(os.getpid())
    scratch.mkdir(mode=0o700)
    os.setpgid(0, 0)  # a group of its own: a kill takes what it has started too
    os.chdir(scratch)
    os.environ.clear()
    os.environ["TMPDIR"] = str(scratch)
    os.environ["OMP_THREAD_LIMIT"] = "1"  # also of programs: workers are as many as CPUs
    tempfile.tempdir = str(scratch)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # it may wait for a program of its own
    confine(limits, lane, parent, scratch)
    try:
        while True:
            try:
                task, blobs, descriptor = wire.receive_task(sock)
            except ConnectionError:
                break
            allow_cpu(limits.cpu_seconds)
            wire.send_result(sock, _answer(task, blobs, descriptor, process))
    finally:
        os._exit(0)


def _answer(
    task: Mapping[str, object], blobs: list[bytes], descriptor: int | None, process: Process
) -> ProcessorResult:
    """Run one task; running out of memory is an outcome, and the worker lives on."""
    try:
        data = blobs[0] if descriptor is None else _read(descriptor)
        declared = task["declared_type"]
        params = task["params"]
        if not isinstance(params, dict):
            raise TypeError("params is no object")
        return process(str(task["kind"]), data, None if declared is None else str(declared), params)
    except MemoryError:
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        return ProcessorResult(Code.MEMORY, f"needs more than {soft} bytes of memory")


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:  # a descriptor has no path
        return file.read()
