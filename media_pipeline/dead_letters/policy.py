"""From an error of the taxonomy to the named outcome of one media asset."""

from __future__ import annotations

from media_pipeline.domain.outcome import Code
from media_pipeline.errors import PermanentError, TransientError

#: Permanent errors whose code is an outcome of its own; any other is simply invalid.
_BY_CODE = {
    code.value: code
    for code in (
        Code.OBJECT_MISSING,
        Code.OBJECT_CHANGED,
        Code.TOO_LARGE,
        Code.EMPTY,
        Code.ENCRYPTED,
        Code.INVALID,
    )
}

#: Systemic for one run alone: they say nothing of the others.
_OF_ONE_RUN = frozenset({"run_superseded", "batch_changed"})


def opens_breaker(code: str) -> bool:
    """Whether a systemic error with that code means that other runs would fail as well."""
    return code not in _OF_ONE_RUN


def code_of(error: PermanentError | TransientError) -> Code:
    """Transient errors wait for the run's retry; permanent ones end under their own name.

    Systemic errors have no outcome on purpose: they say nothing of the media asset and must
    stop the run instead.
    """
    if isinstance(error, TransientError):
        return Code.TRANSIENT
    return _BY_CODE.get(error.code, Code.INVALID)
