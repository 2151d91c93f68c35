"""The pool's side of the processes: the zygote that forks workers, and one worker."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from media_pipeline.errors import SystemicError
from media_pipeline.workers.lanes import NAMES, LaneName
from media_pipeline.workers.limits import WorkerLimits
from media_pipeline.workers.zygote import PID, SIZE

_ZYGOTE_SECONDS = 60.0
#: Threads would make forking unsafe, and workers are as many as there are CPUs.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_PAGE = os.sysconf("SC_PAGE_SIZE")


class WorkerProcess:
    """One worker: its socket, how many files it served, its scratch directory."""

    def __init__(self, pid: int, sock: socket.socket, scratch: Path) -> None:
        self.pid = pid
        self.sock = sock
        self.served = 0
        self._scratch = scratch

    def kill(self) -> None:
        """End it and what it has started, and remove what it wrote."""
        for end in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                end(self.pid, signal.SIGKILL)
        self.sock.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def peak_bytes(self) -> int:
        """The most memory that the worker itself ever held; 0 when it has ended."""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        except OSError:
            return 0
        found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        return int(found[0]) * 1024 if found else 0

    def resident_bytes(self) -> int:
        """Memory in use by the worker and the programs that it has started."""
        return _resident(self.pid)


def _resident(pid: int) -> int:
    try:
        total = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):
        return 0  # it has ended, which its socket tells
    return total + sum(_resident(int(child)) for child in children)


class Zygote:
    """Started with the first fork; started again when it has died. `report`: see `cage`."""

    def __init__(self, limits: WorkerLimits, processors: str, scratch_parent: str) -> None:
        self.report: Mapping[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._limits = limits
        self._processors = processors
        self._scratch_parent = scratch_parent
        self._scratch: Path | None = None
        self._control: socket.socket | None = None

    def fork(self, lane: LaneName) -> WorkerProcess:
        """A fresh worker of that lane; SystemicError `workers_unavailable` when there is no way."""
        for _ in range(2):
            control = self._running()
            assert self._scratch is not None  # noqa: S101  # made with the zygote
            ours, theirs = socket.socketpair()
            try:
                socket.send_fds(control, [bytes([NAMES.index(lane)])], [theirs.fileno()])
                answer = control.recv(PID.size, socket.MSG_WAITALL)
            except OSError:
                answer = b""
            theirs.close()
            if len(answer) == PID.size:
                pid = int(PID.unpack(answer)[0])
                return WorkerProcess(pid, ours, self._scratch / str(pid))
            ours.close()
            self._stop()  # it died: its workers are gone too, start over
        raise _failure("it dies when it forks")

    def close(self) -> None:
        """End it and all workers, and remove every scratch directory."""
        self._stop()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _running(self) -> socket.socket:
        if self._control is not None:
            return self._control
        if self._scratch is None:
            made = tempfile.mkdtemp(prefix="media-workers-", dir=self._scratch_parent)
            self._scratch = Path(made)
        ours, theirs = socket.socketpair()
        command = [
            sys.executable,
            "-m",
            "media_pipeline.workers.zygote",
            str(theirs.fileno()),
            json.dumps(asdict(self._limits)),
            self._processors,
            str(self._scratch),
        ]
        # An environment of its own: nothing of the run's secrets reaches a decoder.
        self.process = subprocess.Popen(  # noqa: S603  # ourselves
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={"PYTHONPATH": os.pathsep.join(sys.path), "LANG": "C.UTF-8", **_ONE_THREAD},
            start_new_session=True,
        )
        theirs.close()
        ours.settimeout(_ZYGOTE_SECONDS)
        try:
            size = ours.recv(SIZE.size, socket.MSG_WAITALL)
            report = ours.recv(int(SIZE.unpack(size)[0]), socket.MSG_WAITALL) if size else b""
        except TimeoutError:
            report = b""
        if not report:
            ours.close()
            raise _failure("it did not come up; its output is in the run's log")
        self.report = json.loads(report)
        self._control = ours
        return ours

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _failure(what: str) -> SystemicError:
    return SystemicError(
        f"the worker zygote cannot be used: {what}.",
        remedy="run `python -m media_pipeline.workers.zygote` by hand in the image; check that"
        " processes and memory are not limited below what it needs.",
        code="workers_unavailable",
    )
