"""The zygote: preloads the processors, then forks warm workers when the pool asks.

Runs as `python -m media_pipeline.workers.zygote <socket fd> <limits as JSON> <module> <scratch>`
with an empty environment. When it is ready it tells what the cage consists of here, as JSON.
It stays single-threaded, so forking is safe, and holds no other descriptors. A request is one
byte, the lane, with a socket attached (the worker's end); the answer is the worker's pid. It
ends when the pool's end closes, and its workers end with it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path

from media_pipeline.workers.lanes import LANES, NAMES
from media_pipeline.workers.limits import WorkerLimits, confine
from media_pipeline.workers.worker import Process, serve

PID = struct.Struct("!i")
#: Length of the report that the zygote sends when it is ready.
SIZE = struct.Struct("!I")


def main(arguments: list[str]) -> None:
    """Serve spawn requests until the pool closes its end."""
    control = socket.socket(fileno=int(arguments[0]))
    given = json.loads(arguments[1])
    limits = WorkerLimits(**{**given, "readable": tuple(given["readable"])})
    process = _preload(arguments[2])
    base = Path(arguments[3])
    # The kernel reaps the workers; the pool learns of a death from its socket.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's business
    zygote = os.getpid()
    report = json.dumps(_tried(limits, zygote, base)).encode()
    control.sendall(SIZE.pack(len(report)) + report)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        lane = LANES[NAMES[message[0]]]
        for name in lane.preload:
            importlib.import_module(name)
        pid = os.fork()
        if pid == 0:
            control.close()
            serve(socket.socket(fileno=descriptors[0]), process, limits, lane, zygote, base)
        for descriptor in descriptors:
            os.close(descriptor)
        control.sendall(PID.pack(pid))


def _tried(limits: WorkerLimits, zygote: int, base: Path) -> dict[str, str]:
    """What a worker will be confined by, found out by a fork that confines itself."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        found = confine(limits, LANES["decode"], zygote, base)
        os.write(writing, json.dumps(found).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123  # a descriptor has no path
        found_by_fork = pipe.read()
    report: dict[str, str] = json.loads(found_by_fork)
    return report


def _preload(module_name: str) -> Process:
    """Import the processors and their codecs, so that every fork has them already."""
    module = importlib.import_module(module_name)
    for processor in getattr(module, "PROCESSORS", {}).values():
        for name in processor.preload:
            warm = getattr(importlib.import_module(name), "preload", None)
            if name.startswith("media_pipeline.") and warm is not None:
                warm()
    # Fragments of what was imported would be copied into every worker at first touch.
    importlib.import_module("gc").freeze()
    process: Process = module.process
    return process


if __name__ == "__main__":
    main(sys.argv[1:])
