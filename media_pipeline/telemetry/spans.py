"""What happened to each media asset and how long it took, gathered where the work is done.

Nothing is gathered unless somebody records (`recording`), and nothing is sent from here: see
`media_pipeline.telemetry.traces`. The standard library alone, because every step imports it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from media_pipeline.errors import MediaPipelineError

Attributes = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Span:
    """One step of one media asset. Times in seconds since the epoch.

    `failure`: code of what went wrong, empty otherwise. `whole`: the attempt itself, parent of
    its other spans. `keep`: worth keeping although nothing failed in this process.
    """

    name: str
    asset_id: str
    content_version: str
    run_id: str
    started: float
    ended: float
    attributes: Attributes = field(default_factory=dict)
    failure: str = ""
    producer: str = ""
    whole: bool = False
    keep: bool = False


class Recorder:
    """Spans of one run, tick or step, from any thread."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._spans: list[Span] = []
        self._lock = threading.Lock()

    def add(self, span: Span) -> None:
        with self._lock:
            self._spans.append(span)

    def drain(self) -> list[Span]:
        """All spans so far, which are then forgotten here."""
        with self._lock:
            spans, self._spans = self._spans, []
        return spans


_recorder: Recorder | None = None


@contextmanager
def recording(run_id: str) -> Iterator[Recorder]:
    """Gather spans of this process inside the block."""
    global _recorder  # noqa: PLW0603  # one run per process; see phases.py
    before, _recorder = _recorder, Recorder(run_id)
    try:
        yield _recorder
    finally:
        _recorder = before


def note(
    name: str,
    asset_id: str,
    content_version: str,
    *,
    started: float,
    ended: float | None = None,
    run_id: str | None = None,
    failure: str = "",
    producer: str | None = None,
    whole: bool = False,
    keep: bool = False,
    **attributes: str | float,
) -> None:
    """Add a span that ends now, or at `ended`; nothing where nobody records."""
    recorder = _recorder
    if recorder is None:
        return
    end = time.time() if ended is None else ended
    run = recorder.run_id if run_id is None else run_id
    recorder.add(
        Span(
            name, asset_id, content_version, run, min(started, end), end, attributes, failure,
            producer or "", whole, keep,
        )
    )  # fmt: skip


@contextmanager
def timed(name: str, asset_id: str, content_version: str) -> Iterator[None]:
    """A span of the block; an error of ours is its failure, and passes."""
    started = time.time()
    try:
        yield
    except MediaPipelineError as error:
        note(name, asset_id, content_version, started=started, failure=error.code)
        raise
    note(name, asset_id, content_version, started=started)


def epoch_of(instant: str) -> float | None:
    """An ISO 8601 instant with an offset, as producers write it; None for anything else."""
    try:
        parsed = datetime.fromisoformat(instant)
    except ValueError:
        return None
    return parsed.timestamp() if parsed.tzinfo else None
