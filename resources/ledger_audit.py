"""The ledger as a reconciliation reads it: `LedgerAudit` on the functions of migration 0031."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from media_pipeline.domain.reconciliation import (
    Announced,
    AssetEnd,
    EnrichedVersion,
    OverdueEvent,
    StalledVersion,
)
from resources.postgrest_client import PostgrestClient


class PostgrestLedgerAudit:
    """`LedgerAudit`; every method is one bounded request."""

    def __init__(self, client: PostgrestClient) -> None:
        self._client = client

    def accounted(self, messages: Sequence[Announced]) -> list[str | None]:
        """See `LedgerAudit.accounted`."""
        if not messages:
            return []
        asked = []
        for one in messages:
            asset_id, version = one.version or (None, None)
            asked.append(
                {
                    "asset_id": asset_id,
                    "content_version": version,
                    "topic": one.record.topic,
                    "kafka_partition": one.record.partition,
                    "kafka_offset": one.record.offset,
                    "record_timestamp": one.record.timestamp_ms,
                }
            )
        return [row["how"] for row in self._client.call("accounted", {"messages": asked})]

    def enriched(
        self, since: str, until: str, after: EnrichedVersion | None, limit: int
    ) -> list[EnrichedVersion]:
        """See `LedgerAudit.enriched`."""
        asked = {
            "since": since, "until": until, "max_rows": limit,
            "after_finished": after and after.finished_at,
            "after_asset": after and after.asset_id,
            "after_version": after and after.content_version,
        }  # fmt: skip
        return [
            EnrichedVersion(**{**row, "objects": tuple(row["objects"])})
            for row in self._client.call("enriched_versions", asked)
        ]

    def stalled(
        self, since: str, until: str, idle_seconds: int, after: StalledVersion | None, limit: int
    ) -> list[StalledVersion]:
        """See `LedgerAudit.stalled`."""
        asked = {
            "since": since, "until": until, "idle_seconds": idle_seconds, "max_rows": limit,
            "after_asset": after and after.asset_id,
            "after_version": after and after.content_version,
        }  # fmt: skip
        return [StalledVersion(**row) for row in self._client.call("stalled_versions", asked)]

    def known_inputs(self, inputs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """See `LedgerAudit.known_inputs`."""
        asked = [{"kind": kind, "digest": digest} for kind, digest in inputs]
        rows = self._client.call("known_inputs", {"inputs": asked})
        return {(row["kind"], row["digest"]) for row in rows}

    def overdue_events(self, older_seconds: int, limit: int) -> list[OverdueEvent]:
        """See `LedgerAudit.overdue_events`."""
        asked = {"older_seconds": older_seconds, "max_rows": limit}
        return [OverdueEvent(**row) for row in self._client.call("overdue_events", asked)]

    def ends_of(self, asset_ids: Sequence[str]) -> Mapping[str, AssetEnd]:
        """See `LedgerAudit.ends_of`."""
        rows = self._client.call("ends_of", {"asset_ids": list(asset_ids)})
        return {row["asset_id"]: AssetEnd(row["enriched"], row["finished"]) for row in rows}
