"""`media.asset_enriched.v1`: a media asset was enriched, wholly or in part.

At least once: a consumer de-duplicates by `event_id`, which is the same for the same media
asset, content version and processor versions. Schema: schemas/media.asset_enriched.v1.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from media_pipeline.contracts.json_document import NotJsonError, load_object
from media_pipeline.domain.identity import enriched_event_id
from media_pipeline.domain.media_asset import MediaAsset
from media_pipeline.domain.outcome import Derivative, Verdict
from media_pipeline.domain.ports import OutgoingEvent

TYPE = "media.asset_enriched.v1"
REQUIRED = (
    "event_id", "occurred_at", "asset_id", "content_version", "outcome", "derivatives", "run_id"
)  # fmt: skip


def build_asset_enriched(
    asset: MediaAsset,
    decided: Verdict,
    derivatives: Sequence[Derivative],
    *,
    run_id: str,
    occurred_at: str,
    topic: str,
) -> OutgoingEvent:
    """The event for one media asset; `decided.status` is complete or partial."""
    fingerprints = {row.kind: row.fingerprint for row in derivatives}
    event_id = enriched_event_id(asset.asset_id, asset.content_version, fingerprints)
    body: dict[str, Any] = {
        "type": TYPE,
        "event_id": event_id,
        "occurred_at": occurred_at,
        "asset_id": asset.asset_id,
        "content_version": asset.content_version,
        "outcome": decided.status,
        "source": {"bucket": asset.source.bucket, "object_key": asset.source.object_key},
        "derivatives": [_derivative(row) for row in derivatives],
        "run_id": run_id,
    }
    if decided.message:
        body["reason"] = f"{decided.stage}/{decided.code}: {decided.message}"
    headers: list[tuple[str, bytes]] = [("event_id", event_id.encode())]
    if asset.traceparent:
        headers.append(("traceparent", asset.traceparent.encode()))
    payload = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return OutgoingEvent(event_id, topic, asset.asset_id.encode(), payload, tuple(headers))


def parse_asset_enriched(payload: bytes) -> dict[str, Any]:
    """For consumers: the event's fields; NotJsonError (`missing_field`, ...) when it is none."""
    body = load_object(payload)
    if body.get("type", TYPE) != TYPE:
        raise NotJsonError("unknown_version", f"type {body['type']!r}, this reader knows {TYPE}")
    missing = [name for name in REQUIRED if name not in body]
    if missing:
        raise NotJsonError("missing_field", f"missing {', '.join(missing)}")
    return body


def _derivative(row: Derivative) -> dict[str, Any]:
    """One kind; the first artifact is the main one, all are listed."""
    main = row.artifacts[0] if row.artifacts else None
    return {
        "kind": row.kind,
        "outcome": str(row.code),
        "fingerprint": row.fingerprint,
        "object_key": main.object_key if main else None,
        "digest": main.digest if main else None,
        "bytes": sum(part.size_bytes for part in row.artifacts),
        "objects": [
            {
                "name": part.name,
                "object_key": part.object_key,
                "content_type": part.content_type,
                "digest": part.digest,
                "bytes": part.size_bytes,
            }
            for part in row.artifacts
        ],
        "attributes": dict(row.attributes),
        "reason": row.message or None,
    }
