"""The ledger behind PostgREST: `MetadataStore` on the functions of deploy/postgres/migrations."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from media_pipeline.domain.identity import dead_letter_id
from media_pipeline.domain.media_asset import MediaAsset, MessageRecord, SourceObject
from media_pipeline.domain.outcome import Code, Derivative, StoredArtifact
from media_pipeline.domain.ports import (
    Arrival,
    AssetResult,
    Claim,
    LedgerCounts,
    OutgoingEvent,
    Recorded,
    Registration,
    RejectedMessage,
    StaleDerivative,
)
from resources.postgrest_client import PostgrestClient, Row

Item = TypeVar("Item")


class PostgrestMetadataStore:
    """`MetadataStore`; every call is cut into pages of `page_rows`, each one transaction."""

    def __init__(
        self, client: PostgrestClient, *, page_rows: int = 1000, image_digest: str = "unknown"
    ) -> None:
        self._client = client
        self._page_rows = page_rows
        self._image_digest = image_digest

    def register(self, arrivals: Sequence[Arrival]) -> list[Registration]:
        """See `MetadataStore.register`."""
        return [
            Registration(**row)
            for page in self._pages(arrivals)
            for row in self._client.call(
                "register", {"arrivals": [arrival_row(one) for one in page]}
            )
        ]

    def reject(self, messages: Sequence[RejectedMessage], pipeline_version: str) -> int:
        """See `MetadataStore.reject`."""
        return sum(
            self._client.call(
                "reject",
                {
                    "messages": [_rejected(one) for one in page],
                    "pipeline_version": pipeline_version,
                    "image_digest": self._image_digest,
                },
            )
            for page in self._pages(messages)
        )

    def claim(
        self, run_id: str, root_run_id: str, asset_ids: Sequence[str], *, run_created: float = 0.0
    ) -> list[Claim]:
        """See `MetadataStore.claim`."""
        run = {"run": run_id, "root_run": root_run_id, "run_created": run_created}
        return [
            _claim(row)
            for page in self._pages(asset_ids)
            for row in self._client.call("claim_batch", {**run, "asset_ids": list(page)})
        ]

    def record(
        self, run_id: str, results: Sequence[AssetResult], pipeline_version: str
    ) -> list[Recorded]:
        """See `MetadataStore.record`."""
        return [
            Recorded(**row)
            for page in self._pages(results)
            for row in self._client.call(
                "record",
                {
                    "run": run_id,
                    "results": [_result(one) for one in page],
                    "pipeline_version": pipeline_version,
                    "image_digest": self._image_digest,
                },
            )
        ]

    def unpublished(self, limit: int) -> list[OutgoingEvent]:
        """See `MetadataStore.unpublished`."""
        return [
            OutgoingEvent(
                event_id=row["event_id"],
                topic=row["topic"],
                key=_bytes(row["key"]),
                payload=_bytes(row["payload"]),
                headers=tuple((name, _bytes(value) or b"") for name, value in row["headers"]),
            )
            for row in self._client.call("unpublished", {"max_rows": limit})
        ]

    def mark_published(self, event_ids: Sequence[str]) -> None:
        """See `MetadataStore.mark_published`."""
        for page in self._pages(event_ids):
            self._client.call("mark_published", {"event_ids": list(page)})

    def derivatives(self, asset_ids: Sequence[str]) -> list[Derivative]:
        """See `MetadataStore.derivatives`."""
        return [
            _derivative(row)
            for page in self._pages(asset_ids)
            for row in self._client.call("derivatives_of", {"asset_ids": list(page)})
        ]

    def stale(
        self, expected: Mapping[str, str], after_asset: str | None, limit: int
    ) -> list[StaleDerivative]:
        """See `MetadataStore.stale`."""
        asked = {"expected": dict(expected), "after_asset": after_asset, "max_rows": limit}
        return [StaleDerivative(**row) for row in self._client.call("stale", asked)]

    def mean_seconds(self) -> Mapping[str, float]:
        """See `MetadataStore.mean_seconds`."""
        return {row["kind"]: row["seconds"] for row in self._client.call("mean_seconds", {})}

    def counts(self) -> LedgerCounts:
        """See `MetadataStore.counts`."""
        return LedgerCounts(**self._client.call("counts", {})[0])

    def probe(self) -> None:
        """See `MetadataStore.probe`."""
        self.counts()

    def _pages(self, items: Sequence[Item]) -> Iterator[Sequence[Item]]:
        for start in range(0, len(items), self._page_rows):
            yield items[start : start + self._page_rows]


def storable(value: Any) -> Any:
    """`value` without what PostgreSQL's jsonb refuses: NUL, half surrogate pairs, NaN.

    Such text comes out of real documents; one of them must not fail a batch's record.
    """
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return value


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _headers(headers: Sequence[tuple[str, bytes]]) -> list[list[str | None]]:
    return [[name, _base64(value)] for name, value in headers]


def _record(record: MessageRecord) -> Row:
    return {
        "topic": record.topic,
        "kafka_partition": record.partition,
        "kafka_offset": record.offset,
        "record_timestamp": record.timestamp_ms,
        "record_key": _base64(record.key),
        "record_value": _base64(record.value),
        "record_headers": _headers(record.headers),
    }


def arrival_row(arrival: Arrival) -> Row:
    """An arrival as `register` takes it."""
    asset, source = arrival.asset, arrival.asset.source
    return {
        "asset_id": asset.asset_id,
        "content_version": asset.content_version,
        "bucket": source.bucket,
        "object_key": source.object_key,
        "version_id": source.version_id,
        "etag": source.etag,
        "sha256": source.sha256,
        "announced_bytes": source.size_bytes,
        "content_type": source.content_type,
        "event_id": asset.event_id,
        "occurred_at": asset.occurred_at,
        "priority": asset.priority,
        "ocr_languages": list(asset.ocr_languages),
        "traceparent": asset.traceparent,
        "extra": storable(asset.extra),
        **_record(arrival.record),
    }


def _rejected(message: RejectedMessage) -> Row:
    return {
        "dlq_id": dead_letter_id(message.record.coordinates, "", message.stage, message.code),
        "stage": message.stage,
        "code": message.code,
        "message": storable(message.message),
        **_record(message.record),
    }


def media_asset_of(row: Row) -> MediaAsset:
    """The media asset of a row that has its columns, as it was announced."""
    source = SourceObject(
        bucket=row["bucket"],
        object_key=row["object_key"],
        version_id=row["version_id"],
        etag=row["etag"],
        sha256=row["sha256"],
        size_bytes=row["announced_bytes"],
        content_type=row["content_type"],
    )
    return MediaAsset(
        asset_id=row["asset_id"],
        content_version=row["content_version"],
        source=source,
        event_id=row["event_id"],
        occurred_at=row["occurred_at"],
        priority=row["priority"],
        ocr_languages=tuple(row["ocr_languages"]),
        traceparent=row["traceparent"],
        extra=row["extra"],
    )


def _claim(row: Row) -> Claim:
    return Claim(media_asset_of(row), row["fence"], row["attempts"], row["previous_status"])


def _result(result: AssetResult) -> Row:
    decided = result.verdict
    event = result.event
    return {
        "asset_id": result.asset_id,
        "content_version": result.content_version,
        "fence": result.fence,
        "status": decided.status,
        "stage": decided.stage or None,
        "code": decided.code or None,
        "message": storable(decided.message) or None,
        "content_digest": result.content_digest,
        "size_bytes": result.size_bytes,
        "derivatives": [
            {
                "kind": row.kind,
                "fingerprint": row.fingerprint,
                "outcome": str(row.code),
                "message": storable(row.message),
                "input_digest": row.input_digest,
                "input_bytes": row.input_bytes,
                "artifacts": [asdict(part) for part in row.artifacts],
                "attributes": storable(row.attributes),
                "seconds": row.seconds,
            }
            for row in result.derivatives
        ],
        "event": event
        and {
            "event_id": event.event_id,
            "topic": event.topic,
            "key": _base64(event.key),
            "payload": _base64(event.payload),
            "headers": _headers(event.headers),
        },
        "dead_letter": result.dead_letter and storable(asdict(result.dead_letter)),
    }


def _derivative(row: Row) -> Derivative:
    fields: dict[str, Any] = {**row, "code": Code(row["outcome"])}
    fields["artifacts"] = tuple(StoredArtifact(**part) for part in row["artifacts"])
    del fields["outcome"]
    return Derivative(**fields)
