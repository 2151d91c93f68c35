"""Logs of long-lived processes: one JSON object a line, or readable where a person looks on."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from media_pipeline.domain.redaction import redact_fields


def configure_logs(stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's logs to `stream` (standard error).

    Fields: `timestamp` (UTC), `level`, `logger`, `event`, and whatever the call or
    `structlog.contextvars` adds: `asset_id`, `run_id`, `offset`, `trace_id`.
    """
    target = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if target.isatty() else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _redacted,
                renderer,
            ],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # One line per connection attempt of a broker that is away says nothing new.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def _redacted(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Fields and tracebacks too; what libraries log is redacted before: see log_redaction."""
    return redact_fields(event)
