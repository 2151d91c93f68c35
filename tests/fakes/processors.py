"""Processors that misbehave on request, for the cage's tests: loaded by the zygote by name."""

import ctypes
import os
import sys
import time

from media_pipeline.domain.outcome import Artifact, Code, ProcessorResult


def process(kind, data, declared_type, params):  # one line per way to fail
    text = data.decode()
    if kind == "hang":
        while True:
            time.sleep(1)
    if kind == "spin":
        while True:
            pass
    if kind == "segfault":
        ctypes.string_at(0)
    if kind == "exit":
        os._exit(3)
    if kind == "memory":
        return ProcessorResult(Code.OK, str(len(bytearray(8 * 1024**3))))
    if kind == "raise":
        raise RuntimeError("a bug in a processor")
    if kind == "garbage":
        os.write(int(max(os.listdir("/proc/self/fd"), key=int)) - 1, b"nonsense")
        os._exit(0)
    if kind == "child":
        if os.fork() == 0:
            time.sleep(60)
        time.sleep(60)
    if kind == "crash-once":
        marker = params["marker"]
        if not os.path.exists(marker):
            open(marker, "w").close()
            os._exit(1)
    if kind == "look":
        seen = {
            "environment": sorted(os.environ),
            "cwd": os.getcwd(),
            "pid": os.getpid(),
            "no_new_privs": open("/proc/self/status").read().count("NoNewPrivs:\t1"),
            "threads": len(os.listdir("/proc/self/task")),
            "dagster": "dagster" in sys.modules,
        }
        return ProcessorResult(Code.OK, attributes=seen)
    if kind == "slow":
        time.sleep(float(text))
    big = Artifact("big", "x", b"x" * int(params.get("bytes", 0)))
    return ProcessorResult(Code.OK, text, (big,), {"declared": declared_type}, preview=b"p")
