"""Processors that misbehave on request, for the cage's tests: loaded by the zygote by name."""

import ctypes
import os
import socket
import subprocess
import sys
import time

from media_pipeline.domain.outcome import Artifact, Code, ProcessorResult

SERVED: list[str] = []
GROW = "import time; held = bytearray(120 * 1024**2); time.sleep(30)"


def reaching(run_pid):
    """What a decoder that was taken over might try: name -> attempt that answers what it got."""

    def attempt(call):
        def tried():
            try:
                return str(call())
            except OSError as error:
                return type(error).__name__

        return tried

    def connect():
        with socket.socket() as sock:
            sock.connect(("127.0.0.1", 1))

    return [
        ("environment of the run", attempt(lambda: open(f"/proc/{run_pid}/environ").read())),
        ("a file of the system", attempt(lambda: open("/etc/passwd").read())),
        ("a folder of others", attempt(lambda: os.listdir("/tmp"))),
        ("writing elsewhere", attempt(lambda: open("/tmp/escaped", "w"))),
        ("a socket", attempt(connect)),
        ("a signal to the run", attempt(lambda: os.kill(int(run_pid), 0))),
        ("its own scratch", attempt(lambda: open("mine", "w").write("x"))),
    ]


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
    SERVED.append(kind)
    if kind == "crash-when-used" and len(SERVED) > 1:
        os._exit(1)
    if kind == "reach":
        return ProcessorResult(
            Code.OK, attributes={name: attempt() for name, attempt in reaching(text)}
        )
    if kind == "execute":
        try:
            done = subprocess.run(["/bin/echo", "ran"], capture_output=True, check=False)
        except OSError as error:
            return ProcessorResult(Code.OK, type(error).__name__)
        return ProcessorResult(Code.OK, done.stdout.decode().strip())
    if kind == "grow-outside":
        # Each process stays below its own limit; together they do not.
        children = [subprocess.Popen([sys.executable, "-c", GROW]) for _ in range(4)]
        return ProcessorResult(Code.OK, str([child.wait() for child in children]))
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
    if kind == "shout":
        os.write(1, b"shouted")
        os.write(2, b"shouted")
    if kind == "slow":
        time.sleep(float(text))
    big = Artifact("big", "x", b"x" * int(params.get("bytes", 0)))
    return ProcessorResult(Code.OK, text, (big,), {"declared": declared_type}, preview=b"p")
