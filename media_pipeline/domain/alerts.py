"""Alerts: what on-call is told, as values, and the port that tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Severity = Literal["page", "ticket"]


@dataclass(frozen=True, slots=True)
class Alert:
    """One cause, however many runs it failed.

    `fingerprint`: equal for equal causes, so that receivers fold repeats. `occurrences`: runs
    since the last alert of this cause. `asset_ids`: some of the media assets concerned.
    `started_at`: seconds since the epoch. No field may hold a secret.
    """

    name: str
    fingerprint: str
    severity: Severity
    summary: str
    description: str
    remedy: str
    started_at: float
    occurrences: int = 1
    asset_ids: tuple[str, ...] = ()
    run_url: str = ""
    runbook_url: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


class AlertSink(Protocol):
    """Where alerts go; each receiver on its own, so that one that is down holds up no other."""

    @property
    def receivers(self) -> Sequence[str]:
        """Names of the receivers that are set up; may be empty."""
        ...

    def send(self, receiver: str, alerts: Sequence[Alert]) -> None:
        """Deliver to one receiver; sending an alert again is harmless.

        Raises TransientError `alert_undelivered` when it may work later, PermanentError
        `alert_refused` when the receiver will never take it. Neither names the address.
        """
        ...
