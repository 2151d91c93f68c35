"""What looks like a secret, out of text that leaves the system: alerts, reports, checks.

Errors quote what servers answered, and servers quote what they were sent. This is the last
line of defence: nothing should put a secret into an error in the first place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[hidden]"

_NAMES = (
    r"pass(?:word|wd)?|pwd|secret(?:[_-]?key)?|access[_-]?key(?:[_-]?id)?|api[_-]?key|token|"
    r"x-vault-token|x-amz-(?:credential|signature|security-token)|sasl[._-]jaas[._-]config"
)
_RULES = (
    # Sessions and keys that are recognised by their own form.
    (re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), HIDDEN),
    (re.compile(r"\b(?:hv[sbr]|s)\.[A-Za-z0-9_-]{20,}"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
    (re.compile(r"https://hooks\.slack\.com/\S+"), HIDDEN),
    # scheme://user:password@host
    (re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/@]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (
        re.compile(r"((?:proxy-)?authorization['\"]?\s*[:=]\s*['\"]?\w+)\s+\S+", re.IGNORECASE),
        rf"\1 {HIDDEN}",
    ),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (
        re.compile(
            rf"((?:[\w-]*[_-])?(?:{_NAMES})['\"]?\s*[:=]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s,;&'\"]+)",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
)


def redact(text: str) -> str:
    """`text` with everything that has the form of a secret replaced."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redact_fields(fields: Mapping[Any, Any]) -> dict[Any, Any]:
    """Fields of a structured log line: texts redacted; what is secret by its name, hidden."""
    return {name: _field(name, value) for name, value in fields.items()}


def _field(name: Any, value: Any) -> Any:
    if isinstance(value, str) and (clean := redact(value)) != value:
        return clean
    said = f"{name}={value!r}"
    return value if value is None or redact(said) == said else HIDDEN
