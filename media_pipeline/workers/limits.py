"""What one worker may use, set in the worker itself before it sees a file."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """`memory_bytes`: address space. `cpu_seconds`: of one file, over all threads.
    `recycle_tasks`: files before a worker is replaced (decoders leak)."""

    memory_bytes: int = 2 * _GIB
    cpu_seconds: int = 120
    file_bytes: int = 256 * 1024 * 1024
    open_files: int = 64
    recycle_tasks: int = 500


def confine(limits: WorkerLimits, parent: int) -> None:
    """Apply everything that lasts for the worker's life; dies at once if its parent has."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for what, value in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (value, value))


def allow_cpu(seconds: int) -> None:
    """Give the next file its CPU time: the soft limit counts from the process's start."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
