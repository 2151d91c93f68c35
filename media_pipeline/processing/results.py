"""Small helpers that every processor ends with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from media_pipeline.domain.outcome import Code, ProcessorResult
from media_pipeline.processing.media_type import MediaType

_MESSAGE_LENGTH = 300
#: How libraries in C tell that an allocation was refused.
_OUT_OF_MEMORY = ("malloc", "calloc", "realloc", "bad_alloc", "out of memory")


class UnreadableMediaError(Exception):
    """A file that cannot be read; `code` says how it ends."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Whatever a decoder raises over a file, as UnreadableMediaError. `what` did not work.

    Everything, because there is no closed list: MuPDF's errors are plain Exceptions, and
    readers of documents stumble over broken ones with AttributeError and the like. Python's
    own MemoryError passes, the worker knows it.
    """
    try:
        yield
    except (UnreadableMediaError, MemoryError):
        raise
    except Exception as error:
        name = type(error).__name__
        told = " ".join(str(error).split())[:_MESSAGE_LENGTH]
        refused = any(word in told for word in _OUT_OF_MEMORY)
        code = Code.MEMORY if refused else Code.INVALID
        raise UnreadableMediaError(code, f"{what}: {name}: {told}") from error


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
