"""`media.ingested.v1`: somebody uploaded a media asset.

Body: `event_id, occurred_at, asset_id, bucket, object_key` and, where known, `content_type,
size_bytes, etag, sha256, version_id, ocr_languages, priority`. Plain JSON, or CloudEvents
1.0 in structured or binary form with the same fields as data. Schema:
schemas/media.ingested.v1.json.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from media_pipeline.contracts.json_document import NotJsonError, load_object
from media_pipeline.domain.media_asset import (
    ASSET_ID_PATTERN,
    MediaAsset,
    MessageRecord,
    Priority,
    SourceObject,
    content_version,
)
from media_pipeline.domain.ports import OutgoingEvent

TYPE = "media.ingested.v1"
STAGE = "contract"
MAX_BYTES = 1024 * 1024
MAX_KEY_BYTES = 1024
MAX_LANGUAGES = 16

_LANGUAGE = re.compile(r"[a-z][a-z_]{1,30}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_KNOWN = {
    "event_id", "occurred_at", "asset_id", "bucket", "object_key", "content_type", "size_bytes",
    "etag", "sha256", "version_id", "ocr_languages", "priority", "type", "schema_version",
}  # fmt: skip
_MAX_TEXT = 512
#: Bidirectional controls: a name that shows as `gpj.exe` and is `exe.jpg` fools whoever reads it.
_REORDERING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a message is not a valid `media.ingested.v1`."""

    code: str
    message: str


class _InvalidError(ValueError):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def parse_media_ingested(
    record: MessageRecord, *, allowed_buckets: Collection[str], max_bytes: int = MAX_BYTES
) -> MediaAsset | Rejected:
    """The media asset that a Kafka record announces, or why it is refused. Never raises."""
    try:
        return _parse(record, allowed_buckets, max_bytes)
    except (NotJsonError, _InvalidError) as error:
        return Rejected(error.code, str(error))


def build_media_ingested(asset: MediaAsset, *, topic: str) -> OutgoingEvent:
    """The message that announces `asset`, for producers and replays."""
    source = asset.source
    body: dict[str, object] = {
        **asset.extra,
        "event_id": asset.event_id,
        "occurred_at": asset.occurred_at,
        "asset_id": asset.asset_id,
        "bucket": source.bucket,
        "object_key": source.object_key,
        "content_type": source.content_type,
        "size_bytes": source.size_bytes,
        "etag": source.etag,
        "sha256": source.sha256,
        "version_id": source.version_id,
        "ocr_languages": list(asset.ocr_languages) or None,
        "priority": asset.priority,
    }
    given = {name: value for name, value in body.items() if value is not None}
    headers = (("traceparent", asset.traceparent.encode()),) if asset.traceparent else ()
    payload = json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode()
    return OutgoingEvent(asset.event_id, topic, asset.asset_id.encode(), payload, headers)


def _parse(record: MessageRecord, allowed_buckets: Collection[str], max_bytes: int) -> MediaAsset:
    if not record.value:
        raise _InvalidError("empty_message", "the record has no value")
    if len(record.value) > max_bytes:
        raise _InvalidError(
            "oversized_message", f"{len(record.value)} bytes, allowed are {max_bytes}"
        )
    headers = dict(record.headers)
    body = _unwrap(load_object(record.value), headers)
    asset_id = _text(body, "asset_id")
    if not ASSET_ID_PATTERN.fullmatch(asset_id):
        raise _InvalidError("bad_asset_id", f"{asset_id[:140]!r}: 1-128 of A-Z a-z 0-9 . _ ~ -")
    if record.key is not None and record.key != b"" and record.key != asset_id.encode():
        raise _InvalidError(
            "key_mismatch", f"record key {record.key[:140]!r}, asset_id {asset_id!r}"
        )
    source = _source(body, allowed_buckets)
    event_id = _text(body, "event_id")
    return MediaAsset(
        asset_id=asset_id,
        content_version=content_version(source, event_id),
        source=source,
        event_id=event_id,
        occurred_at=_text(body, "occurred_at"),
        priority=_priority(body),
        ocr_languages=_languages(body),
        traceparent=_traceparent(headers),
        extra={name: value for name, value in body.items() if name not in _KNOWN},
    )


def _unwrap(document: dict[str, Any], headers: dict[str, bytes]) -> dict[str, Any]:
    """The fields, out of plain JSON or a CloudEvents envelope; refuses other versions."""
    if "ce_specversion" in headers:
        envelope = {
            name.removeprefix("ce_"): value.decode("utf-8", "replace")
            for name, value in headers.items()
            if name.startswith("ce_")
        }
        return _from_cloudevent(envelope, document)
    if "specversion" in document:
        data = document.get("data")
        if not isinstance(data, dict):
            raise _InvalidError("wrong_type", "data of the CloudEvent is not an object")
        return _from_cloudevent(document, data)
    _require_version(document.get("type", TYPE))
    if str(document.get("schema_version", "1")) not in ("1", "1.0"):
        raise _InvalidError("unknown_version", f"schema_version {document['schema_version']!r}")
    return document


def _from_cloudevent(envelope: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    if envelope.get("specversion") != "1.0":
        raise _InvalidError("unknown_version", f"CloudEvents {envelope.get('specversion')!r}")
    _require_version(envelope.get("type"))
    # The envelope's id and time serve where the data has none of its own.
    outer = {"event_id": envelope.get("id"), "occurred_at": envelope.get("time")}
    return {**{name: value for name, value in outer.items() if value is not None}, **data}


def _require_version(type_: object) -> None:
    if type_ != TYPE:
        raise _InvalidError(
            "unknown_version", f"type {str(type_)[:100]!r}, this reader knows {TYPE}"
        )


def _source(body: dict[str, Any], allowed_buckets: Collection[str]) -> SourceObject:
    bucket = _text(body, "bucket")
    if bucket not in allowed_buckets:
        raise _InvalidError(
            "bucket_not_allowed", f"bucket {bucket[:100]!r} is not on the allow list"
        )
    sha256 = _optional_text(body, "sha256")
    if sha256 is not None and not _SHA256.fullmatch(sha256.lower()):
        raise _InvalidError("wrong_type", "sha256 is not 64 hex digits")
    etag = _optional_text(body, "etag")
    return SourceObject(
        bucket=bucket,
        object_key=_object_key(body),
        version_id=_optional_text(body, "version_id"),
        etag=etag.removeprefix("W/").strip('"') or None if etag else None,
        sha256=sha256.lower() if sha256 else None,
        size_bytes=_size(body),
        content_type=_optional_text(body, "content_type"),
    )


def _object_key(body: dict[str, Any]) -> str:
    key = _text(body, "object_key", limit=4 * MAX_KEY_BYTES)
    problem = None
    if len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        problem = f"longer than {MAX_KEY_BYTES} bytes"
    elif key.startswith("/"):
        problem = "starts with a slash"
    elif "\\" in key or any(unicodedata.category(letter) == "Cc" for letter in key):
        problem = "has a backslash or a control character"
    elif any(letter in _REORDERING for letter in key):
        problem = "has a character that turns text around"
    elif any(part in ("..", ".") for part in key.split("/")):
        problem = "has a `.` or `..` segment"
    elif any("\ud800" <= letter <= "\udfff" for letter in key):
        problem = "has half a surrogate pair"
    if problem:
        raise _InvalidError("bad_object_key", f"{key[:100]!r} {problem}")
    return key


def _text(body: dict[str, Any], name: str, limit: int = _MAX_TEXT) -> str:
    value = body.get(name)
    if value is None:
        raise _InvalidError("missing_field", f"{name} is missing")
    if not isinstance(value, str):
        raise _InvalidError("wrong_type", f"{name} is a {type(value).__name__}, not a string")
    if not value:
        raise _InvalidError("missing_field", f"{name} is empty")
    if len(value) > limit or "\x00" in value:
        raise _InvalidError("wrong_type", f"{name} is longer than {limit} characters or has a NUL")
    return value


def _optional_text(body: dict[str, Any], name: str) -> str | None:
    return None if body.get(name) in (None, "") else _text(body, name)


def _size(body: dict[str, Any]) -> int | None:
    value = body.get("size_bytes")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
        raise _InvalidError("wrong_type", "size_bytes is not a whole number of bytes")
    return value


def _languages(body: dict[str, Any]) -> tuple[str, ...]:
    value = body.get("ocr_languages")
    if value is None:
        return ()
    good = isinstance(value, list) and len(value) <= MAX_LANGUAGES
    if not good or not all(isinstance(one, str) and _LANGUAGE.fullmatch(one) for one in value):
        raise _InvalidError(
            "wrong_type", "ocr_languages is not a list of codes such as eng, chi_sim"
        )
    return tuple(value)


def _priority(body: dict[str, Any]) -> Priority:
    value = body.get("priority", "live")
    if value not in ("live", "backfill"):
        raise _InvalidError(
            "wrong_type", f"priority {str(value)[:50]!r} is neither live nor backfill"
        )
    return cast("Priority", value)


def _traceparent(headers: dict[str, bytes]) -> str | None:
    """A malformed one is dropped, as the W3C recommendation asks."""
    text = headers.get("traceparent", b"").decode("ascii", "replace")
    return text if _TRACEPARENT.fullmatch(text) else None
