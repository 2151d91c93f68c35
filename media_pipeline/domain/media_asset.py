"""What a person uploaded: identity, source object and where the news of it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Priority = Literal["live", "backfill"]

#: A partition key must survive Dagster's UI, tags and ranges: no comma, slash or blank.
ASSET_ID_PATTERN = re.compile(r"[A-Za-z0-9._~-]{1,128}")


@dataclass(frozen=True, slots=True)
class SourceObject:
    """The uploaded object: bucket and key only, never a URL.

    `etag`, `sha256` (lower-case hex), `version_id` and `size_bytes` are what the
    producer claimed; each one given is verified when the object is fetched.
    """

    bucket: str
    object_key: str
    version_id: str | None = None
    etag: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """One Kafka record exactly as received; `timestamp_ms` is milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def coordinates(self) -> str:
        """`topic/partition/offset`, for messages and logs."""
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class MediaAsset:
    """One content version of one media asset, as announced on `media.ingested.v1`."""

    asset_id: str
    content_version: str
    source: SourceObject
    event_id: str
    occurred_at: str
    priority: Priority = "live"
    ocr_languages: tuple[str, ...] = ()
    traceparent: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)


def content_version(source: SourceObject, event_id: str) -> str:
    """Identity of the bytes, from the strongest claim in the event.

    Two events that name the same bytes get the same version, so a redelivery or a
    re-upload of the same content is recognised before anything is downloaded.
    Without any claim the event itself is the identity: nothing better is known yet.
    """
    if source.sha256:
        return f"sha256:{source.sha256}"
    if source.version_id:
        return f"version:{source.version_id}"
    if source.etag:
        return f"etag:{source.etag}"
    return f"event:{event_id}"
