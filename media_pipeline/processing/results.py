"""Small helpers that every processor ends with."""

from __future__ import annotations

from collections.abc import Mapping

from media_pipeline.domain.outcome import Code, ProcessorResult
from media_pipeline.processing.media_type import MediaType


class UnreadableMediaError(Exception):
    """A file that cannot be read; `code` says how it ends."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def types_of(media_type: MediaType) -> dict[str, object]:
    """Both types, recorded whenever they differ."""
    found: dict[str, object] = {"media_type": media_type.mime}
    if not media_type.agrees:
        found["declared_type"] = media_type.declared
    return found


def ended(
    code: Code, message: str, media_type: MediaType, more: Mapping[str, object] | None = None
) -> ProcessorResult:
    """A result without artifacts: a named failure, or nothing to do."""
    return ProcessorResult(code, message, attributes={**types_of(media_type), **(more or {})})
