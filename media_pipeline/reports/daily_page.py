"""The daily checks as a page: findings, and the figures of the last days as plots."""

from __future__ import annotations

from collections import defaultdict

from media_pipeline.health.daily import DailyReport
from media_pipeline.health.findings import Finding, Level
from media_pipeline.reports.page import Markup, bars, element, page, table

_ANSWERS: dict[Level, str] = {
    "ok": "Everything is as usual.",
    "unknown": "Something could not be asked.",
    "warn": "Nothing is wrong; some figures are unusual.",
    "fail": "Something is wrong.",
}
_GOOD = {"ok", "not_applicable", "unsupported"}


def daily_page(report: DailyReport, *, max_lag: int) -> str:
    """The whole page."""
    lags = {f"{partition}": float(lag) for partition, lag in report.lags.items()}
    return page(
        "Media processing: daily checks",
        [
            element("p", _ANSWERS[report.level], class_=f"answer {report.level}"),
            element("p", report.made_at, class_="quiet"),
            element("h2", "Findings"),
            table(
                ("", "check", "of", "found", "usual", "what to do"),
                [_row(one) for one in sorted(report.findings, key=_severity)],
            ),
            element("h2", "Outcomes by day"),
            *_days(report),
            element("h2", "Consumer lag"),
            bars(
                lags,
                title="messages by Kafka partition; line: threshold",
                limit=max_lag if any(lag > max_lag / 10 for lag in lags.values()) else None,
            ),
        ],
    )


def _severity(finding: Finding) -> int:
    return ("fail", "warn", "unknown", "ok").index(finding.level)


def _row(one: Finding) -> list[object]:
    remedy = one.remedy if one.level != "ok" else ""
    return [(one.level, one.level), one.check, one.subject, one.figure, one.expected, remedy]


def _days(report: DailyReport) -> list[Markup]:
    totals: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    failed: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in report.days:
        day = row.day.isoformat()
        totals[row.kind][day] += row.count
        if row.outcome not in _GOOD:
            failed[row.kind][day] += row.count
    if not totals:
        return [element("p", "no figures yet", class_="quiet")]
    return [
        bars(dict(totals[kind]), title=f"{kind}: outcomes, of them failures", bad=failed[kind])
        for kind in sorted(totals)
    ]
