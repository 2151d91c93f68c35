"""No log record carries a secret: the last line of defence, for what libraries log of us.

Installed where secrets enter a process (resources/credentials), so that every process that can
leak one has it. Knows secrets by their form (`domain.redaction`); messages and tracebacks alike.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from media_pipeline.domain.redaction import redact, redact_fields

_tracebacks = logging.Formatter()


def redact_logs() -> None:
    """From now on, in this process, for every logger and handler; calling it again is harmless."""
    previous = logging.getLogRecordFactory()
    if getattr(previous, "redacts", False):
        return

    def factory(*args: Any, **fields: Any) -> logging.LogRecord:
        return _redacted(previous(*args, **fields))

    factory.redacts = True  # type: ignore[attr-defined]  # how a second call knows the first
    logging.setLogRecordFactory(factory)


def _redacted(record: logging.LogRecord) -> logging.LogRecord:
    try:
        said = record.getMessage()
    except (TypeError, ValueError):
        return record  # arguments that do not fit: logging itself reports the call
    if isinstance(record.msg, Mapping):
        # Structured loggers send mappings, and their formatters want them back.
        record.msg = redact_fields(record.msg)
    elif (clean := redact(said)) != said:
        record.msg, record.args = clean, ()
    if record.exc_info and record.exc_info[0] is not None:
        # Handlers format a traceback once and keep it here: ours is there first.
        record.exc_text = redact(_tracebacks.formatException(record.exc_info))
    return record
