"""One thing that was looked at, and what to do about it."""

from __future__ import annotations

import email.utils
from dataclasses import dataclass
from typing import Literal

from media_pipeline.domain.redaction import redact
from media_pipeline.errors import MediaPipelineError

#: Tokens and signatures stop being accepted at skews of minutes; this is seen well before.
SKEW_SECONDS = 30.0

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is a short stable word for what is wrong, empty where nothing is."""

    check: str
    state: State
    detail: str
    code: str = ""
    remedy: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", redact(self.detail))


def ok(check: str, detail: str) -> Finding:
    return Finding(check, "ok", detail)


def skipped(check: str, detail: str) -> Finding:
    return Finding(check, "skipped", detail)


def warning(check: str, detail: str, code: str, remedy: str) -> Finding:
    """What hinders nothing now and is probably not meant."""
    return Finding(check, "warning", detail, code, remedy)


def failed(check: str, detail: str, code: str, remedy: str) -> Finding:
    return Finding(check, "failed", detail, code, remedy)


def of_error(check: str, error: MediaPipelineError, code: str | None = None) -> Finding:
    """An error of the pipeline, as it would stop the pipeline."""
    return failed(check, error.message, code or error.code, error.remedy)


def skew(check: str, there: float, now: float) -> list[Finding]:
    """A finding when the clock there differs from ours (both: seconds since the epoch)."""
    difference = now - there
    if abs(difference) <= SKEW_SECONDS:
        return []
    return [
        failed(
            check,
            f"this host's clock is {abs(difference):.0f} s"
            f" {'ahead of' if difference > 0 else 'behind'} that server's.",
            "clock_skew",
            "mend the time service (chrony, systemd-timesyncd) of the host that is wrong.",
        )
    ]


def skew_of_date(check: str, header: str | None, now: float) -> list[Finding]:
    """The same for an HTTP Date header; nothing to say without one."""
    if not header:
        return []
    return skew(check, email.utils.parsedate_to_datetime(header).timestamp(), now)
