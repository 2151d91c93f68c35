"""The error taxonomy: every failure has exactly one home.

    MediaPipelineError
    +-- TransientError    the same call may succeed later   -> retried in process, then with the run
    +-- PermanentError    the same bytes fail for ever      -> dead letter with a code, no retry
    +-- SystemicError     nothing succeeds until fixed      -> stop loudly, page; never dead-letter

Belongs here: the tree and nothing else.  Must not be here: mapping of library
errors (each adapter maps its own), decisions about dead letters
(`media_pipeline.dead_letters`).  Imports the standard library only.
"""

from __future__ import annotations


class MediaPipelineError(Exception):
    """Base of all errors that this system raises on purpose.

    Args:
        message: what happened, with the identifiers needed to look for it.
        remedy: what an operator does about it; shown wherever the error is shown.
        code: short stable word (`object_missing`, `credentials_refused`) used in
            dead letters, metrics and alerts.
    """

    default_code = "error"

    def __init__(self, message: str, *, remedy: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.code = code or self.default_code

    def __str__(self) -> str:
        return f"[{self.code}] {self.message} Remedy: {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments defeat Exception's default pickling; errors cross processes here.
        return (_rebuild, (type(self), self.message, self.remedy, self.code))


def _rebuild(
    cls: type[MediaPipelineError], message: str, remedy: str, code: str
) -> MediaPipelineError:
    return cls(message, remedy=remedy, code=code)


class TransientError(MediaPipelineError):
    """The same call may succeed later: time-outs, 5xx, broken connections."""

    default_code = "transient"


class PermanentError(MediaPipelineError):
    """The same input will fail for ever: encrypted, invalid, missing object."""

    default_code = "permanent"


class SystemicError(MediaPipelineError):
    """Nothing will succeed until somebody fixes it: refused credentials, missing bucket."""

    default_code = "systemic"
