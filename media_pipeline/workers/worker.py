"""What a forked worker does: one file at a time, read, process, answer."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from media_pipeline.domain.outcome import Code, ProcessorResult
from media_pipeline.workers import wire
from media_pipeline.workers.limits import WorkerLimits, allow_cpu, confine

#: kind, bytes, declared type, parameters -> result. Memory and CPU limits are in force.
Process = Callable[[str, bytes, str | None, Mapping[str, object]], ProcessorResult]


def serve(sock: socket.socket, process: Process, limits: WorkerLimits, parent: int) -> None:
    """Answer tasks until the pool closes the socket. Never returns normally."""
    confine(limits, parent)
    os.setpgid(0, 0)  # a group of its own: a kill takes what it has started too
    scratch = tempfile.mkdtemp(prefix="media-worker-")
    os.chdir(scratch)
    os.environ.clear()
    os.environ["TMPDIR"] = scratch
    tempfile.tempdir = scratch
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    try:
        while True:
            try:
                task, _ = wire.receive(sock)
            except ConnectionError:
                break
            allow_cpu(limits.cpu_seconds)
            wire.send_result(sock, _answer(task, process))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(0)


def _answer(task: Mapping[str, object], process: Process) -> ProcessorResult:
    """Run one task; running out of memory is an outcome, and the worker lives on."""
    try:
        data = Path(str(task["path"])).read_bytes()
        declared = task["declared_type"]
        params = task["params"]
        if not isinstance(params, dict):
            raise TypeError("params is no object")
        return process(str(task["kind"]), data, None if declared is None else str(declared), params)
    except MemoryError:
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        return ProcessorResult(Code.MEMORY, f"needs more than {soft} bytes of memory")
