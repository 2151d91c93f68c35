"""What a forked worker does: one file at a time, read, process, answer."""

from __future__ import annotations

import os
import resource
import signal
import socket
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from media_pipeline.domain.outcome import Code, ProcessorResult
from media_pipeline.workers import wire
from media_pipeline.workers.lanes import Lane
from media_pipeline.workers.limits import WorkerLimits, allow_cpu, confine

#: kind, bytes, declared type, parameters -> result. Memory and CPU limits are in force.
Process = Callable[[str, bytes, str | None, Mapping[str, object]], ProcessorResult]
_MESSAGE_LENGTH = 300


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
    _silence()
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


def _silence() -> None:
    """What decoders print is the uploader's to choose, and as much of it as they like."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def _answer(
    task: Mapping[str, Any], blobs: list[bytes], descriptor: int | None, process: Process
) -> ProcessorResult:
    """Run one task; running out of memory is an outcome, and the worker lives on.

    So is an exception that no processor foresaw: it is named and, being the file's or the
    code's doing, never tried again.
    """
    try:
        data = blobs[0] if descriptor is None else _read(descriptor)
        return process(task["kind"], data, task["declared_type"], task["params"])
    except MemoryError:
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        return ProcessorResult(Code.MEMORY, f"needs more than {soft} bytes of memory")
    except Exception as error:  # noqa: BLE001  # whatever it is, it is this file's end
        return ProcessorResult(Code.CRASH, _told(error))


def _told(error: Exception) -> str:
    """Exception and the innermost place in our own code, for whoever mends it."""
    frames = traceback.extract_tb(error.__traceback__)  # the first is `_answer`
    ours = [frame for frame in frames[1:] if "media_pipeline" in frame.filename]
    last = (ours or frames)[-1]
    what = " ".join(str(error).split())[:_MESSAGE_LENGTH]
    return f"{type(error).__name__}: {what} ({Path(last.filename).name}:{last.lineno})"


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:  # a descriptor has no path
        return file.read()
