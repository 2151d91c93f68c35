"""What one worker may use and reach, set in the worker itself before it sees a file."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from media_pipeline.workers import landlock, seccomp
from media_pipeline.workers.lanes import Lane

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_GIB = 1024**3
#: Beside the interpreter and the libraries: what codecs, OpenMP and tesseract look at.
_SYSTEM_READABLE = (
    "/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/fonts", "/etc/localtime",
    "/dev/urandom", "/dev/random", "/dev/zero", "/proc/self", "/proc/cpuinfo", "/proc/meminfo",
    "/proc/stat", "/sys/devices/system/cpu", "/sys/fs/cgroup",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """`memory_bytes`: address space of a process, and resident memory of a worker with all it
    has started. `cpu_seconds`: of one file, over all threads. `recycle_tasks`: files before a
    worker is replaced (decoders leak). `readable`: more paths that it may read, models say."""

    memory_bytes: int = 2 * _GIB
    cpu_seconds: int = 120
    file_bytes: int = 256 * 1024 * 1024
    open_files: int = 64
    recycle_tasks: int = 500
    readable: tuple[str, ...] = ()


def confine(limits: WorkerLimits, lane: Lane, parent: int, scratch: Path) -> dict[str, str]:
    """Apply everything that lasts for the worker's life; dies at once if its parent has.

    Answers what is in force, part by part, in words for a log.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if lane.confined:  # a GPU's driver reserves far more addresses than it takes memory
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    for what, value in (
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (value, value))
    if not lane.confined:
        return {"files": "not confined: an accelerator", "network": "not confined: an accelerator"}
    return {"files": _confine_files(limits, scratch), "network": _refuse_calls(lane)}


def _confine_files(limits: WorkerLimits, scratch: Path) -> str:
    try:
        confined = landlock.restrict(
            [*_libraries(), *_SYSTEM_READABLE, *limits.readable], [str(scratch), "/dev/null"]
        )
    except OSError as error:
        return f"not confined: {error}"
    return f"landlock ABI {landlock.abi()}" if confined else "not confined: no Landlock here"


def _refuse_calls(lane: Lane) -> str:
    try:
        filtered = seccomp.restrict(may_execute=lane.may_execute)
    except OSError as error:
        return f"not confined: {error}"
    return "seccomp" if filtered else "not confined: no table for this architecture"


def allow_cpu(seconds: int) -> None:
    """Give the next file its CPU time: the soft limit counts from the process's start."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _libraries() -> list[str]:
    """The interpreter, what is installed in it, and the loaded packages outside of it.

    Never a whole folder of `sys.path`: in a checkout that is the project with its secrets.
    """
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    found |= {entry for entry in sys.path if "site-packages" in entry}
    inside = tuple(found)
    for name, module in sys.modules.copy().items():
        file = getattr(module, "__file__", None)
        if file and "." not in name and not str(file).startswith(inside):
            path = Path(file)
            found.add(str(path.parent if path.name == "__init__.py" else path))
    return sorted(found)
