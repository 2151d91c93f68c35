"""Producing: put a file into the media bucket and announce it on `media.ingested.v1`."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from media_pipeline.cli.world import World
from media_pipeline.contracts.media_ingested import build_media_ingested
from media_pipeline.domain.identity import NAMESPACE
from media_pipeline.domain.media_asset import MediaAsset, SourceObject, content_version


@dataclass(frozen=True, slots=True)
class Upload:
    """One uploaded object and the media asset that it belongs to."""

    asset: MediaAsset


def upload(
    world: World, asset_id: str, filename: str, data: bytes, content_type: str | None
) -> Upload:
    """Store the bytes and describe them; the claims are what the pipeline will verify."""
    bucket = world.settings.object_store.allowed_buckets[0]
    object_key = f"uploads/{asset_id}/{filename}"
    world.object_store.upload(bucket, object_key, data, content_type)
    digest = hashlib.sha256(data).hexdigest()
    source = SourceObject(
        bucket=bucket,
        object_key=object_key,
        sha256=digest,
        size_bytes=len(data),
        content_type=content_type,
    )
    event_id = str(uuid.uuid5(NAMESPACE, f"ingested\n{asset_id}\n{digest}"))
    return Upload(
        MediaAsset(
            asset_id=asset_id,
            content_version=content_version(source, event_id),
            source=source,
            event_id=event_id,
            occurred_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
    )


def announce(world: World, uploads: Sequence[Upload]) -> None:
    """Publish one `media.ingested.v1` message per upload; returns when all are acknowledged."""
    topic = world.settings.kafka.ingested_topic
    world.event_sink.publish([build_media_ingested(one.asset, topic=topic) for one in uploads])
