"""Errors of the PostgREST stand-in: PostgREST's bodies and its SQLSTATE -> HTTP table."""

from __future__ import annotations

from dataclasses import dataclass

#: https://docs.postgrest.org/en/v12/references/errors.html: exact codes, then classes.
_EXACT = {
    "42501": 403,
    "42883": 404,
    "42P01": 404,
    "42P17": 500,
    "23503": 409,
    "23505": 409,
    "25006": 405,
    "21000": 500,
    "P0001": 400,
    "57014": 500,
}
_CLASSES = {
    "08": 503,
    "09": 500,
    "0L": 403,
    "0P": 403,
    "25": 500,
    "28": 403,
    "2D": 500,
    "38": 500,
    "39": 500,
    "3B": 500,
    "40": 500,
    "53": 503,
    "54": 500,
    "55": 500,
    "57": 500,
    "58": 500,
    "F0": 500,
    "HV": 500,
    "P0": 500,
    "XX": 500,
}


@dataclass
class ApiError(Exception):
    """An answer with PostgREST's body: code, message, details, hint."""

    status: int
    code: str
    message: str
    details: str | None = None
    hint: str | None = None

    def body(self) -> dict[str, str | None]:
        return {
            "code": self.code,
            "message": self.message,
            "details": self.details,
            "hint": self.hint,
        }


def unsupported(what: str) -> ApiError:
    """The stand-in refuses what it does not know instead of guessing."""
    return ApiError(
        400,
        "PGRST100",
        f"the embedded stand-in does not support {what}",
        hint="it answers the documented subset only; use a real PostgREST for the rest",
    )


def status_of(sqlstate: str | None) -> int:
    """The HTTP status that PostgREST gives for a SQLSTATE."""
    if not sqlstate:
        return 503
    return _EXACT.get(sqlstate) or _CLASSES.get(sqlstate[:2], 400)
