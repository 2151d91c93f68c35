"""The zygote: preloads the processors, then forks warm workers when the pool asks.

Runs as `python -m media_pipeline.workers.zygote <socket fd> <limits as JSON> <module>` with an
empty environment. It stays single-threaded, so forking is safe, and holds no other
descriptors. A request is one byte with a socket attached (the worker's end); the answer is
the worker's pid. It ends when the pool's end closes, and its workers end with it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import struct
import sys

from media_pipeline.workers.limits import WorkerLimits
from media_pipeline.workers.worker import Process, serve

PID = struct.Struct("!i")
SPAWN = b"s"
READY = b"r"


def main(arguments: list[str]) -> None:
    """Serve spawn requests until the pool closes its end."""
    control = socket.socket(fileno=int(arguments[0]))
    limits = WorkerLimits(**json.loads(arguments[1]))
    process = _preload(arguments[2])
    # The kernel reaps the workers; the pool learns of a death from its socket.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's business
    zygote = os.getpid()
    control.sendall(READY)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            serve(socket.socket(fileno=descriptors[0]), process, limits, zygote)
        for descriptor in descriptors:
            os.close(descriptor)
        control.sendall(PID.pack(pid))


def _preload(module_name: str) -> Process:
    """Import the processors and their codecs, so that every fork has them already."""
    module = importlib.import_module(module_name)
    for processor in getattr(module, "PROCESSORS", {}).values():
        for name in processor.preload:
            importlib.import_module(name)
    # Fragments of what was imported would be copied into every worker at first touch.
    importlib.import_module("gc").freeze()
    process: Process = module.process
    return process


if __name__ == "__main__":
    main(sys.argv[1:])
