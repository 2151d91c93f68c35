"""Whether media assets that were just announced went all the way: one answer per promise.

Asked after a release: objects, rows, event and counter of each, in the system as it is deployed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from media_pipeline.contracts.asset_enriched import parse_asset_enriched
from media_pipeline.domain.dead_letters import DeadLetterStore, VersionState
from media_pipeline.domain.operations import OperationsLedger
from media_pipeline.domain.outcome import Derivative
from media_pipeline.domain.ports import EventSource, ObjectStore
from media_pipeline.errors import MediaPipelineError
from media_pipeline.health.findings import Finding

Key = tuple[str, str]
_POLL_SECONDS = 0.5
_READ_SECONDS = 5.0
_MAX_RECORDS = 10_000
#: Counters of outcomes are by day: two of them, in case midnight comes in between.
_DAYS = 2


@dataclass(frozen=True, slots=True)
class Sample:
    """One media asset that was announced, and how it must end."""

    name: str
    asset_id: str
    content_version: str
    expected: str


@dataclass(frozen=True, slots=True)
class Before:
    """How things stood before anything was announced."""

    positions: Mapping[int, int]
    counted: Mapping[str, int]


class Verification:
    """Asks the ports of a deployed system about samples of its own."""

    def __init__(
        self,
        *,
        ledger: DeadLetterStore,
        operations: OperationsLedger,
        object_store: ObjectStore,
        event_source: EventSource,
        enriched_topic: str,
        workloads: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._ledger = ledger
        self._operations = operations
        self._store = object_store
        self._source = event_source
        self._topic = enriched_topic
        self._workloads = tuple(workloads)
        self._clock, self._wait = clock, wait

    def before(self) -> Before:
        """To be asked first: where the topic ends, and what was counted."""
        spans = self._source.spans(self._topic)
        ends = {partition: span.end for partition, span in spans.items()}
        return Before(ends, self._counted())

    def after(
        self, samples: Sequence[Sample], before: Before, timeout_seconds: float
    ) -> list[Finding]:
        """One finding per promise; waits until all samples ended, or for so long."""
        deadline = self._clock() + timeout_seconds
        states = self._ended(samples, deadline)
        findings = []
        for sample in samples:
            state = states.get((sample.asset_id, sample.content_version))
            findings.append(self._row(sample, state))
            if state is not None:
                findings.append(self._objects(sample, state.derivatives))
        findings += self._events(samples, before, deadline)
        findings += self._counters(states, before)
        return findings

    def _ended(self, samples: Sequence[Sample], deadline: float) -> dict[Key, VersionState]:
        keys = [(sample.asset_id, sample.content_version) for sample in samples]
        while True:
            states = self._ledger.versions(keys)
            found = {(one.asset_id, one.content_version): one for one in states}
            if len(found) == len(keys) and all(one.ended for one in found.values()):
                return found
            if self._clock() > deadline:
                return found
            self._wait(_POLL_SECONDS)

    def _row(self, sample: Sample, state: VersionState | None) -> Finding:
        status = state.status if state else "not in the ledger"
        kinds = {row.kind for row in state.derivatives} if state else set()
        lacking = [kind for kind in self._workloads if kind not in kinds]
        figure = f"{status}, without {', '.join(lacking)}" if lacking else status
        good = status == sample.expected and not lacking
        return _finding(
            "row", sample, good, figure, f"{sample.expected}, a row per workload",
            "not ended: are sensor, queue and runs alive? Otherwise `media-pipeline show`.",
        )  # fmt: skip

    def _objects(self, sample: Sample, rows: Sequence[Derivative]) -> Finding:
        """Every object that a row names is there, with the digest that the row names."""
        parts = [part for row in rows for part in row.artifacts]
        for part in parts:
            try:
                data = self._store.get(part.object_key)
            except MediaPipelineError as error:
                return _finding(
                    "objects", sample, False, str(error), "readable", "see the object store."
                )
            if hashlib.sha256(data).hexdigest() != part.digest:
                return _finding(
                    "objects", sample, False, f"{part.object_key} has other bytes",
                    "the recorded digest", "somebody writes to the derived bucket.",
                )  # fmt: skip
        return _finding("objects", sample, True, f"{len(parts)} as recorded", "as recorded", "")

    def _events(self, samples: Sequence[Sample], before: Before, deadline: float) -> list[Finding]:
        wanted = {one.asset_id for one in samples if one.expected in ("complete", "partial")}
        found: dict[str, str] = {}
        positions = dict(before.positions)
        while True:
            poll = self._source.poll(
                self._topic, positions, max_records=_MAX_RECORDS, deadline_seconds=_READ_SECONDS
            )
            positions = dict(poll.positions)
            for record in poll.records:
                asset_id = (record.key or b"").decode("utf-8", "replace")
                if asset_id in wanted and record.value is not None:
                    found[asset_id] = str(parse_asset_enriched(record.value)["outcome"])
            if wanted <= found.keys() or self._clock() > deadline:
                break
            if not poll.records:
                self._wait(_POLL_SECONDS)
        return [
            _finding(
                "event", one, found.get(one.asset_id) == one.expected,
                found.get(one.asset_id, "none"), one.expected,
                "is the outbox relay running? Its backlog is in `media-pipeline status`.",
            )
            for one in samples
            if one.asset_id in wanted
        ]  # fmt: skip

    def _counters(self, states: Mapping[Key, VersionState], before: Before) -> list[Finding]:
        """Each workload counted at least what the samples made."""
        now = self._counted()
        findings = []
        for kind in self._workloads:
            made = sum(row.kind == kind for one in states.values() for row in one.derivatives)
            counted = now.get(kind, 0) - before.counted.get(kind, 0)
            findings.append(
                Finding(
                    "counter", kind, "ok" if made and counted >= made else "fail", f"+{counted}",
                    f"at least +{max(made, 1)}", "counters come with the outcome: migrations?",
                )
            )  # fmt: skip
        return findings

    def _counted(self) -> dict[str, int]:
        counted: dict[str, int] = {}
        for row in self._operations.daily_outcomes(_DAYS):
            counted[row.kind] = counted.get(row.kind, 0) + row.count
        return counted


def _finding(
    check: str, sample: Sample, good: bool, figure: str, expected: str, remedy: str
) -> Finding:
    return Finding(check, sample.name, "ok" if good else "fail", figure, expected, remedy)
