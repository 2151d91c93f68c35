"""`media.processing.dlq`: original bytes untouched; the reason stands in the headers."""

from __future__ import annotations

from dataclasses import dataclass

from media_pipeline.domain.media_asset import MessageRecord

#: Always there; others (asset_id, content_version, run_id, traceparent) where known.
REQUIRED_HEADERS = (
    "dlq.schema", "dlq.id", "pipeline_version", "orig.topic", "orig.partition", "orig.offset",
    "orig.timestamp", "error.class", "error.code", "error.stage", "error.message", "attempts",
    "first_failed_at", "last_failed_at", "image.digest", "replay.count",
)  # fmt: skip
#: Headers of the original message are kept under this prefix.
ORIGINAL_HEADER_PREFIX = "orig.header."


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter as read back from the topic; `headers` are the reason's, decoded."""

    headers: dict[str, str]
    original: MessageRecord


def read_dead_letter(record: MessageRecord) -> DeadLetter:
    """The reason and the original record; ValueError naming missing headers of a foreign one."""
    decoded = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    missing = [name for name in REQUIRED_HEADERS if name not in decoded]
    if missing:
        raise ValueError(f"{record.coordinates} is no dead letter: missing {', '.join(missing)}")
    original = MessageRecord(
        topic=decoded["orig.topic"],
        partition=int(decoded["orig.partition"]),
        offset=int(decoded["orig.offset"]),
        timestamp_ms=int(decoded["orig.timestamp"]),
        key=record.key,
        value=record.value,
        headers=tuple(
            (name.removeprefix(ORIGINAL_HEADER_PREFIX), value)
            for name, value in record.headers
            if name.startswith(ORIGINAL_HEADER_PREFIX)
        ),
    )
    reason = {
        name: value
        for name, value in decoded.items()
        if not name.startswith(ORIGINAL_HEADER_PREFIX)
    }
    return DeadLetter(reason, original)
