"""Named points at which the process ends as if it had been killed: for fault tests alone.

`MEDIA_PIPELINE_CRASH_AT=<port>.<method>:<before|after>[#n][@marker]`, for example
`metadata_store.record:after#2@/tmp/once`, ends the process with code 137, without cleaning up,
before or after the n-th call of that method. With a marker the file is made first, and a
process that finds it goes on: whatever is started again gets past the point.

Every effect on the outside world goes through a port, so there is a point before and after
each of them, and none has to stand in the code. Unarmed, ports are not even wrapped.
"""

from __future__ import annotations

import functools
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from media_pipeline.errors import PermanentError

Port = TypeVar("Port")

KILLED = 137
_FORM = re.compile(
    r"(?P<port>\w+)\.(?P<method>\w+):(?P<when>before|after)(#(?P<nth>\d+))?(@(?P<marker>.+))?"
)


@dataclass(slots=True)
class CrashPoint:
    """Where and when; `calls` counts the calls of that method in this process."""

    port: str
    method: str
    when: str
    nth: int = 1
    marker: Path | None = None
    calls: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_call(self) -> int:
        """The number of a call that begins now, from 1 on; calls may overlap."""
        with self.lock:
            self.calls += 1
            return self.calls


_armed: list[CrashPoint] = []


def parse(text: str) -> CrashPoint:
    """A crash point from its name; PermanentError `bad_crash_point` for another form."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise PermanentError(
            f"{text!r} names no crash point.",
            remedy="<port>.<method>:<before|after>[#n][@marker file]",
            code="bad_crash_point",
        )
    marker = found["marker"]
    return CrashPoint(
        found["port"], found["method"], found["when"], int(found["nth"] or 1),
        Path(marker) if marker else None,
    )  # fmt: skip


def arm(text: str | None) -> None:
    """The crash point of this process from now on; None disarms."""
    _armed[:] = [parse(text)] if text else []


def watched(port: Port, name: str) -> Port:
    """`port` itself, or wrapped where a crash point names it."""
    point = next((one for one in _armed if one.port == name), None)
    return port if point is None else _Watched(port, point)  # type: ignore[return-value]


class _Watched:
    def __init__(self, port: object, point: CrashPoint) -> None:
        self._port = port
        self._point = point

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name != self._point.method:
            return found

        @functools.wraps(found)
        def call(*given: object, **named: object) -> object:
            number = self._point.next_call()
            self._at("before", number)
            answer = found(*given, **named)
            self._at("after", number)
            return answer

        return call

    def _at(self, when: str, number: int) -> None:
        point = self._point
        if (when, number) != (point.when, point.nth):
            return
        if point.marker is not None:
            if point.marker.exists():
                return
            point.marker.touch()
        os._exit(KILLED)
