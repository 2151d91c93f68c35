"""Which alerts a set of failures is worth: grouped by cause, told once a while. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from media_pipeline.domain.alerts import Alert
from media_pipeline.domain.redaction import redact
from media_pipeline.errors import SystemicError
from media_pipeline.settings import Settings
from sensors.failure_causes import Failure

_PAGE = "run-failures.md"
_TICKS_PAGE = "sensor-ticks-failing.md"
_MODEL_PAGE = "model-update.md"
_MAX_PENDING = 50
_OVERFLOW = "more-causes"


@dataclass(frozen=True, slots=True)
class Told:
    """When a cause was last told, and how many runs it has failed since (ticks are not counted:
    a sensor that fails is seen again at every look)."""

    at: float
    held: int = 0


@dataclass(frozen=True, slots=True)
class AlertState:
    """The sensor's cursor: the last event seen, causes told, alerts that a receiver still lacks."""

    after: int
    told: Mapping[str, Told] = field(default_factory=dict)
    pending: Mapping[str, tuple[Alert, ...]] = field(default_factory=dict)

    @classmethod
    def loads(cls, text: str) -> AlertState:
        """Read a persisted cursor; SystemicError when somebody edited it into nonsense."""
        try:
            given = json.loads(text)
            return cls(
                int(given["after"]),
                {name: Told(**one) for name, one in given["told"].items()},
                {
                    name: tuple(_alert(one) for one in alerts)
                    for name, alerts in given["pending"].items()
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SystemicError(
                f"the cursor of the run-failure sensor cannot be read: {error!r}",
                remedy="clear it: alerts then start with the next failure.",
                code="cursor_broken",
            ) from error

    def dumps(self) -> str:
        """The inverse of `loads`."""
        pending = {
            name: [asdict(alert) for alert in alerts]
            for name, alerts in self.pending.items()
            if alerts
        }
        told = {name: asdict(one) for name, one in self.told.items()}
        return json.dumps({"after": self.after, "told": told, "pending": pending})

    def queued(self, receivers: Sequence[str], alerts: Sequence[Alert]) -> AlertState:
        """`alerts` added to what each receiver lacks; the newest are kept when it is too much."""
        pending = {
            name: (*self.pending.get(name, ()), *alerts)[-_MAX_PENDING:] for name in receivers
        }
        return replace(self, pending=pending)

    def delivered(self, receiver: str) -> AlertState:
        """A receiver lacks nothing any more."""
        return replace(self, pending={**self.pending, receiver: ()})


def worth_telling(failure: Failure) -> bool:
    """A run that Dagster retries is not news yet, unless something everybody needs is down."""
    return not failure.retried or failure.dependency is not None


def plan_alerts(
    failures: Sequence[Failure], told: Mapping[str, Told], now: float, settings: Settings
) -> tuple[list[Alert], dict[str, Told]]:
    """Alerts to send now, and what was told when, as of now.

    A cause that was told less than `repeat_seconds` ago is counted and told with the next one.
    """
    limits = settings.alerts
    kept = {
        name: one for name, one in told.items() if one.held or now - one.at < limits.repeat_seconds
    }
    alerts: list[Alert] = []
    overflow: list[Failure] = []
    for fingerprint, group in _groups(failures).items():
        before = kept.get(fingerprint)
        if before and now - before.at < limits.repeat_seconds:
            kept[fingerprint] = replace(before, held=before.held + _runs(group))
        elif len(alerts) >= limits.max_per_tick:
            overflow += group
        else:
            runs = _runs(group) + (before.held if before else 0)
            alerts.append(_alert_of(group, runs, settings))
            kept[fingerprint] = Told(now)
    if overflow:
        last = kept.get(_OVERFLOW)
        if last and now - last.at < limits.repeat_seconds:
            kept[_OVERFLOW] = replace(last, held=last.held + len(overflow))
        else:
            alerts.append(_overflow_alert(overflow, settings))
            kept[_OVERFLOW] = Told(now)
    return alerts, kept


def _groups(failures: Sequence[Failure]) -> dict[str, list[Failure]]:
    groups: dict[str, list[Failure]] = {}
    for failure in failures:
        if worth_telling(failure):
            groups.setdefault(failure.fingerprint, []).append(failure)
    return groups


def _runs(group: Sequence[Failure]) -> int:
    return sum(not failure.sensor for failure in group)


def _alert_of(group: Sequence[Failure], runs: int, settings: Settings) -> Alert:
    first = group[0]
    dependency = first.dependency
    said = f"{runs} {'run' if runs == 1 else 'runs'}"
    labels = {"code": first.code, "job": first.job}
    if dependency:
        sensors = sorted({failure.sensor for failure in group if failure.sensor})
        harmed = [*([said] if runs else []), *(f"ticks of {name}" for name in sensors)]
        name, summary = (
            "MediaDependencyUnhealthy",
            f"The {dependency} is unhealthy: it failed {', '.join(harmed)}",
        )
        labels = {"code": first.code, "dependency": dependency}
    elif first.sensor:
        name = "MediaSensorTicksFailing"
        summary = f"{first.sensor} has failed {first.ticks} ticks in a row: {first.code}"
        labels = {"code": first.code, "sensor": first.sensor}
    else:
        name = "MediaRunsFailed"
        place = f" in {first.step}" if first.step else ""
        summary = f"{said} failed{place}: {first.code}"
        if first.step:
            labels["step"] = first.step
    ids = list(dict.fromkeys(key for failure in group for key in failure.asset_ids))
    return Alert(
        name=name,
        fingerprint=first.fingerprint,
        severity="page" if dependency or any(one.systemic for one in group) else "ticket",
        summary=summary,
        description=redact(first.message),
        remedy=redact(first.remedy),
        started_at=min(one.failed_at for one in group),
        occurrences=max(1, runs, first.ticks),
        asset_ids=tuple(ids[: settings.alerts.max_asset_ids]),
        run_url=_url(first, settings),
        runbook_url=_runbook(first, settings),
        labels=labels,
    )


def _overflow_alert(failures: Sequence[Failure], settings: Settings) -> Alert:
    causes = sorted({failure.code for failure in failures})
    url = settings.dagster_url.rstrip("/")
    return Alert(
        name="MediaRunsFailed",
        fingerprint=_OVERFLOW,
        severity="page",
        summary=f"{len(failures)} runs failed of further causes",
        description=f"Codes: {', '.join(causes)[:300]}.",
        remedy="so many causes at once are one cause: look for a deploy or a lost node.",
        started_at=min(one.failed_at for one in failures),
        occurrences=len(failures),
        run_url=f"{url}/runs?q%5B0%5D=status%3AFAILURE",
        runbook_url=f"{settings.alerts.runbook_url.rstrip('/')}/{_PAGE}",
        labels={"code": "many"},
    )


def _url(failure: Failure, settings: Settings) -> str:
    place = "automation" if failure.sensor else f"runs/{failure.run_id}"
    return f"{settings.dagster_url.rstrip('/')}/{place}"


def _runbook(failure: Failure, settings: Settings) -> str:
    base = settings.alerts.runbook_url.rstrip("/")
    if failure.sensor and not failure.dependency:
        return f"{base}/{_TICKS_PAGE}"
    if failure.code.startswith(("model_", "registry_")):
        return f"{base}/{_MODEL_PAGE}"
    anchor = f"#{failure.dependency.replace(' ', '-')}" if failure.dependency else ""
    return f"{base}/{_PAGE}{anchor}"


def _alert(fields: dict[str, Any]) -> Alert:
    return Alert(**{**fields, "asset_ids": tuple(fields["asset_ids"])})
