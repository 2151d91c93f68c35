"""`media.processing.dlq`: original bytes untouched; the reason stands in the headers.

A record that would be larger than brokers take by default (1 MiB) carries no value: its
original bytes lie in the derived bucket, and the header `dlq.payload` says where
(`{"object_key", "sha256", "bytes"}`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from media_pipeline.domain.dead_letters import Letter
from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.ports import OutgoingEvent

#: Always there; others (asset_id, content_version, run_id, traceparent) where known.
REQUIRED_HEADERS = (
    "dlq.schema", "dlq.id", "pipeline_version", "orig.topic", "orig.partition", "orig.offset",
    "orig.timestamp", "error.class", "error.code", "error.stage", "error.message", "attempts",
    "first_failed_at", "last_failed_at", "image.digest", "replay.count",
)  # fmt: skip
#: Headers of the original message are kept under this prefix.
ORIGINAL_HEADER_PREFIX = "orig.header."
PAYLOAD_HEADER = "dlq.payload"
#: Of value, key and headers together; leaves room for what the broker adds.
MAX_INLINE_BYTES = 900 * 1024


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


@dataclass(frozen=True, slots=True)
class PayloadPointer:
    """Where the original bytes of a large dead letter lie."""

    object_key: str
    sha256: str
    size_bytes: int


def offload(event: OutgoingEvent) -> tuple[OutgoingEvent, PayloadPointer] | None:
    """The event with a pointer instead of its payload; None when it is small enough.

    Whoever publishes it must have stored the payload under the pointer's key before.
    """
    payload = event.payload or b""
    size = len(payload) + len(event.key or b"")
    size += sum(len(name) + len(value) for name, value in event.headers)
    if size <= MAX_INLINE_BYTES or not payload:
        return None
    digest = hashlib.sha256(payload).hexdigest()
    pointer = PayloadPointer(f"dead-letters/{digest}", digest, len(payload))
    document = {
        "object_key": pointer.object_key, "sha256": digest, "bytes": pointer.size_bytes,
    }  # fmt: skip
    header = (PAYLOAD_HEADER, json.dumps(document, separators=(",", ":")).encode())
    return replace(event, payload=None, headers=(*event.headers, header)), pointer


def payload_pointer(letter: DeadLetter) -> PayloadPointer | None:
    """Where the original bytes lie, when the record does not carry them; ValueError when the
    pointer cannot be read."""
    text = letter.headers.get(PAYLOAD_HEADER)
    if text is None:
        return None
    try:
        document: dict[str, Any] = json.loads(text)
        return PayloadPointer(
            str(document["object_key"]), str(document["sha256"]), int(document["bytes"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"header {PAYLOAD_HEADER} cannot be read: {text[:200]!r}") from error


def require_payload(pointer: PayloadPointer, data: bytes) -> bytes:
    """`data` when it is what the pointer promises; ValueError otherwise."""
    if hashlib.sha256(data).hexdigest() != pointer.sha256 or len(data) != pointer.size_bytes:
        raise ValueError(
            f"{pointer.object_key} has {len(data)} bytes that are not the original ones"
            f" ({pointer.size_bytes} bytes, sha256 {pointer.sha256})"
        )
    return data


def letter_of(dead: DeadLetter) -> Letter:
    """What the topic knows of a letter: `state` is unknown there and told as open."""
    headers, original = dead.headers, dead.original
    pointer = payload_pointer(dead)
    return Letter(
        dlq_id=headers["dlq.id"],
        asset_id=headers.get("asset_id"),
        content_version=headers.get("content_version"),
        stage=headers["error.stage"],
        code=headers["error.code"],
        error_class=headers["error.class"],
        message=headers["error.message"],
        attempts=_whole(headers["attempts"]),
        topic=original.topic,
        partition=original.partition,
        offset=original.offset,
        timestamp_ms=original.timestamp_ms,
        record_bytes=pointer.size_bytes if pointer else len(original.value or b""),
        run_id=headers.get("run_id"),
        replay_count=_whole(headers["replay.count"]),
        first_failed_at=_instant(headers["first_failed_at"]),
        last_failed_at=_instant(headers["last_failed_at"]),
        record=original,
    )


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _instant(text: str) -> str:
    """ISO 8601 in UTC; the epoch for what is none, so that a foreign letter is still shown."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.fromtimestamp(0, UTC)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
