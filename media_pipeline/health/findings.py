"""From figures to findings: what is as usual, what is odd, what is wrong. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from media_pipeline.domain.operations import DayCount
from media_pipeline.settings import DailyCheckSettings
from media_pipeline.telemetry.figures import DeviceFigures

#: `unknown`: it could not be asked; the dependency's own finding says why.
Level = Literal["ok", "unknown", "warn", "fail"]
_ORDER: tuple[Level, ...] = ("ok", "unknown", "warn", "fail")
_HANDLED = {"ok", "not_applicable", "unsupported"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer: `figure` is what was found, `expected` what would be usual."""

    check: str
    subject: str
    level: Level
    figure: str
    expected: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Open dead letters of one cause; times are ISO 8601."""

    fingerprint: str
    stage: str
    code: str
    count: int
    last_seen: str
    example: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a dependency answered: within `seconds`, or with `error`."""

    name: str
    seconds: float
    error: str = ""


def worst(findings: Iterable[Finding]) -> Level:
    """The level that counts for all of them."""
    return max((one.level for one in findings), key=_ORDER.index, default="ok")


def lag_findings(lags: Mapping[int, int], settings: DailyCheckSettings) -> list[Finding]:
    """Consumer lag per Kafka partition against the threshold."""
    return [
        Finding(
            "consumer lag",
            f"Kafka partition {partition}",
            "fail" if lag > settings.max_lag else "ok",
            f"{lag} messages",
            f"at most {settings.max_lag}",
            "see whether runs fail or wait for slots; then the dependencies; then add capacity.",
        )
        for partition, lag in sorted(lags.items())
    ]


def count_findings(
    days: Sequence[DayCount], today: date, settings: DailyCheckSettings
) -> list[Finding]:
    """Yesterday's number of outcomes against the days before, and the failures of two days."""
    findings = []
    totals, failed = _by_day(days)
    for kind in sorted(totals):
        findings.append(_volume(kind, totals[kind], today, settings))
        findings.append(_failures(kind, totals[kind], failed[kind], today, settings))
    return findings


def _by_day(
    days: Sequence[DayCount],
) -> tuple[dict[str, dict[date, int]], dict[str, dict[date, int]]]:
    totals: dict[str, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    failed: dict[str, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    for row in days:
        totals[row.kind][row.day] += row.count
        failed[row.kind][row.day] += row.count if row.outcome not in _HANDLED else 0
    return totals, failed


def _volume(
    kind: str, total: Mapping[date, int], today: date, settings: DailyCheckSettings
) -> Finding:
    yesterday = today - timedelta(days=1)
    before = [count for day, count in total.items() if day < yesterday]
    found = total.get(yesterday, 0)
    if len(before) < settings.min_days:
        usual = f"not known before {settings.min_days} days"
        return Finding("outcomes of yesterday", kind, "ok", str(found), usual)
    middle, spread = statistics.fmean(before), statistics.pstdev(before)
    # A quiet week has no spread; a fifth of the mean is never odd.
    slack = max(3 * spread, 0.2 * middle)
    low, high = max(0, round(middle - slack)), round(middle + slack)
    return Finding(
        "outcomes of yesterday",
        kind,
        "ok" if low <= found <= high else "warn",
        str(found),
        f"{low} to {high}",
        "fewer: are producers, sensor and runs alive? More: a backfill, a replay, a new producer.",
    )


def _failures(
    kind: str,
    total: Mapping[date, int],
    failed: Mapping[date, int],
    today: date,
    settings: DailyCheckSettings,
) -> Finding:
    recent = {today, today - timedelta(days=1)}
    done = sum(total.get(day, 0) for day in recent)
    bad = sum(failed.get(day, 0) for day in recent)
    earlier = sum(count for day, count in total.items() if day not in recent)
    usual = sum(bad for day, bad in failed.items() if day not in recent) / earlier if earlier else 0
    limit = max(settings.max_failed_ratio, 2 * usual)
    ratio = bad / done if done else 0.0
    return Finding(
        "failures of two days",
        kind,
        "fail" if ratio > limit and done >= settings.min_outcomes else "ok",
        f"{bad} of {done} ({ratio:.1%})",
        f"at most {limit:.1%}",
        "look at the dead letters by cause; after a deploy, roll back.",
    )


def letter_findings(
    groups: Sequence[LetterGroup], more: bool, settings: DailyCheckSettings
) -> list[Finding]:
    """Open dead letters by cause, the most first."""
    count = sum(group.count for group in groups)
    most = f"more than {count}" if more else str(count)
    total = Finding(
        "open dead letters",
        "all",
        "fail" if more or count > settings.max_open_letters else "warn" if count else "ok",
        most,
        f"at most {settings.max_open_letters}",
        "deploy/runbooks/dead-letters.md: mend the cause, replay, or discard with a reason.",
    )
    shown = [
        Finding(
            "open dead letters",
            f"{group.stage}/{group.code} {group.fingerprint}",
            "warn",
            f"{group.count}, last {group.last_seen}",
            "",
            group.example[:300],
        )
        for group in groups[: settings.max_groups]
    ]
    return [total, *shown]


def gpu_findings(
    devices: Mapping[str, DeviceFigures], settings: DailyCheckSettings
) -> list[Finding]:
    """Saturation of GPUs by index; none is no finding at all."""
    return [
        Finding(
            "GPU",
            index,
            "warn" if max(one.utilization, one.memory) > settings.max_gpu_ratio else "ok",
            f"{one.utilization:.0%} busy, {one.memory:.0%} of its memory",
            f"at most {settings.max_gpu_ratio:.0%}",
            "add a node, or lower moderation's slots, batch or processes per GPU.",
        )
        for index, one in sorted(devices.items())
    ]


def dependency_findings(probes: Sequence[Probe], settings: DailyCheckSettings) -> list[Finding]:
    """Whether each dependency answers, and how fast."""
    findings = []
    for probe in probes:
        slow = probe.seconds > settings.slow_seconds
        findings.append(
            Finding(
                "dependency",
                probe.name,
                "fail" if probe.error else "warn" if slow else "ok",
                probe.error or f"answered in {probe.seconds:.2f} s",
                f"within {settings.slow_seconds:g} s",
                "deploy/runbooks/run-failures.md has a paragraph for each dependency.",
            )
        )
    return findings
