"""One supervised child process: own group, own log file, never outlives its parent."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from media_pipeline.errors import SystemicError

_PR_SET_PDEATHSIG = 1
#: Kept from our own environment: what programs need to find libraries and their language.
_PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "HOME", "SSL_CERT_FILE")


class ServerProcess:
    """A server that is started, watched and stopped.

    `user` is a (uid, gid) to drop to; `stop_seconds` is how long it may take to end before it is
    killed. A start or a check that fails raises SystemicError
    naming the log file and its last lines.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_dir: Path,
        env: Mapping[str, str] | None = None,
        user: tuple[int, int] | None = None,
        cwd: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_seconds: float = 10,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log_file = log_dir / f"{name}.log"
        self._env = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
        self._env.update(env or {})
        self._user = user
        self._cwd = cwd
        self._stop_signal = stop_signal
        self._stop_seconds = stop_seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Start it; its output is appended to the log file."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        uid, gid = self._user or (None, None)
        with self.log_file.open("ab") as log:
            try:
                self._process = _spawn(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                    preexec_fn=_die_with_parent(os.getpid()),  # prctl only
                    **({"user": uid, "group": gid, "extra_groups": []} if self._user else {}),
                )
            except OSError as error:
                raise self._failure(f"could not be started: {error}") from error
        return self

    def wait_ready(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Ask until `ready` answers true; the server dying or the time running out raises."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.require_alive()
            if time.monotonic() > deadline:
                raise self._failure(f"was not ready after {seconds:.0f} s")
            time.sleep(0.05)

    def require_alive(self) -> None:
        """Raise when the process has ended."""
        if self._process is None or self._process.poll() is not None:
            code = self._process.returncode if self._process else None
            raise self._failure(f"ended with exit code {code}")

    def stop(self) -> None:
        """Ask it to end, then kill its whole group. Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            _signal_group(process.pid, self._stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):  # the kill below is the answer
                process.wait(self._stop_seconds)
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()

    def _failure(self, what: str) -> SystemicError:
        return SystemicError(
            f"{self.name} {what}. Last lines of {self.log_file}:\n{self._tail()}",
            remedy=f"read {self.log_file}; `media-pipeline down` and try again; if its data is"
            " broken, remove the data directory.",
            code="server_failed",
        )

    def _tail(self, lines: int = 12) -> str:
        try:
            with self.log_file.open(errors="replace") as log:
                return "".join(deque(log, lines)).rstrip() or "(empty)"
        except OSError as error:
            return f"(unreadable: {error})"


@functools.cache
def _spawner() -> ThreadPoolExecutor:
    # The kernel's parent-death signal fires when the *thread* that forked ends: all children
    # are forked by this one, which lives as long as the process.
    return ThreadPoolExecutor(1, "spawner")


def _spawn(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    return _spawner().submit(lambda: subprocess.Popen(command, **options)).result()  # noqa: S603


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        # Gone already, or its members have changed user (PostgreSQL while it starts).
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def _die_with_parent(parent: int) -> Callable[[], None]:
    """For preexec_fn: the kernel ends the child with its parent, even on kill -9."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return prepare
