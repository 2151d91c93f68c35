"""The runbook's daily checks: asks every port, never fails as a whole, answers a report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from media_pipeline.dead_letters.grouping import grouped
from media_pipeline.domain.dead_letters import UNSETTLED, DeadLetterStore, Letter, LetterFilter
from media_pipeline.domain.operations import DayCount, OperationsLedger
from media_pipeline.domain.ports import EventSource, MetadataStore, ObjectStore, Span
from media_pipeline.domain.redaction import redact
from media_pipeline.errors import MediaPipelineError
from media_pipeline.health.findings import (
    Finding,
    LetterGroup,
    Level,
    Probe,
    count_findings,
    dependency_findings,
    gpu_findings,
    lag_findings,
    letter_findings,
    worst,
)
from media_pipeline.settings import Settings
from media_pipeline.telemetry.figures import DeviceFigures

Answer = TypeVar("Answer")

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class DailySources:
    """Whom the checks ask. `positions`: where `media_events_sensor` stands, by Kafka partition;
    `devices`: GPUs of this machine by index; `dagster`: raises when it does not answer, None
    where the question makes no sense because Dagster itself asks."""

    event_source: EventSource
    metadata_store: MetadataStore
    object_store: ObjectStore
    operations: OperationsLedger
    dead_letters: DeadLetterStore
    positions: Callable[[], Mapping[int, int]]
    devices: Callable[[], Mapping[str, DeviceFigures]]
    dagster: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class DailyReport:
    """All findings, and the figures behind them for plots."""

    made_at: str
    findings: tuple[Finding, ...]
    days: tuple[DayCount, ...] = ()
    lags: Mapping[int, int] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        """The worst of all findings."""
        return worst(self.findings)

    def as_json(self) -> dict[str, Any]:
        """JSON-serializable: level, findings, figures."""
        return {
            "made_at": self.made_at,
            "level": self.level,
            "findings": [asdict(one) for one in self.findings],
            "days": [{**asdict(one), "day": one.day.isoformat()} for one in self.days],
            "lags": {str(partition): lag for partition, lag in self.lags.items()},
        }


def daily_report(sources: DailySources, settings: Settings) -> DailyReport:
    """Every check once. What cannot be asked is a finding of its own."""
    limits = settings.daily
    findings: list[Finding] = []
    probes: list[Probe] = []

    def ask(name: str, question: Callable[[], Answer]) -> Answer | None:
        started = time.monotonic()
        try:
            answer = question()
        except MediaPipelineError as error:
            probes.append(Probe(name, time.monotonic() - started, redact(str(error))))
            return None
        probes.append(Probe(name, time.monotonic() - started))
        return answer

    topic = settings.kafka.ingested_topic
    spans = ask("event log", lambda: sources.event_source.spans(topic))
    positions = _quietly(sources.positions)
    lags = None if spans is None or positions is None else _lags(spans, positions)
    ask("object store", sources.object_store.probe)
    ask("ledger", sources.metadata_store.probe)
    if sources.dagster is not None:
        ask("Dagster", sources.dagster)
    days = _quietly(lambda: sources.operations.daily_outcomes(limits.usual_days + 2))
    letters = _quietly(lambda: _open_letters(sources.dead_letters, limits.max_letters_read))
    now = datetime.now(UTC)

    findings += dependency_findings(probes, limits)
    findings += lag_findings(lags, limits) if lags is not None else [_unknown("consumer lag")]
    findings += (
        count_findings(days, now.date(), limits)
        if days is not None
        else [_unknown("outcomes of yesterday")]
    )
    findings += (
        letter_findings(*letters, limits)
        if letters is not None
        else [_unknown("open dead letters")]
    )
    devices = _quietly(sources.devices)
    findings += gpu_findings(devices, limits) if devices is not None else [_unknown("GPU")]
    return DailyReport(
        now.isoformat(timespec="seconds"), tuple(findings), tuple(days or ()), dict(lags or {})
    )


def _quietly(question: Callable[[], Answer]) -> Answer | None:
    """None when nobody answers: the dependency's own probe says why."""
    try:
        return question()
    except MediaPipelineError:
        return None


def _unknown(check: str) -> Finding:
    return Finding(check, "all", "unknown", "could not be asked", "", "see the dependencies.")


def _lags(spans: Mapping[int, Span], positions: Mapping[int, int]) -> dict[int, int]:
    return {
        partition: max(0, span.end - max(span.first, positions.get(partition, span.first)))
        for partition, span in spans.items()
    }


def _open_letters(store: DeadLetterStore, most: int) -> tuple[list[LetterGroup], bool]:
    """Unsettled letters by cause, and whether there are more than were read."""
    wanted = LetterFilter(states=UNSETTLED)
    found: list[Letter] = []
    after = None
    while len(found) < most:
        page = store.letters(wanted, after, min(_PAGE, most - len(found)))
        found += page
        if not page:
            break
        after = page[-1].dlq_id
    groups = [
        LetterGroup(
            one.fingerprint, one.stage, one.code, one.count, one.last_seen, redact(one.example)
        )
        for one in grouped(found)
    ]
    return groups, len(found) >= most
