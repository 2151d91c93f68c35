"""`OperationsLedger` on the ledger's functions, behind PostgREST."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TypeVar

from media_pipeline.domain.operations import (
    AssetVersion,
    DayCount,
    EndedAsset,
    ScoreHistory,
)
from resources.postgrest_client import PostgrestClient

_HISTORY_ROWS = 5000
_VERSIONS = 50

Item = TypeVar("Item")


class PostgrestOperationsLedger:
    """`OperationsLedger`; lists are sent in pages of `page_rows`."""

    def __init__(self, client: PostgrestClient, *, page_rows: int = 1000) -> None:
        self._client = client
        self._page_rows = page_rows

    def retirable(self, asset_ids: Sequence[str], *, idle_seconds: float) -> list[str]:
        """See `OperationsLedger.retirable`."""
        return [
            row["asset_id"]
            for page in self._pages(asset_ids)
            for row in self._client.call(
                "retirable", {"asset_ids": list(page), "idle_seconds": idle_seconds}
            )
        ]

    def score_history(
        self, kind: str, fingerprint: str, label: str, *, days: float
    ) -> ScoreHistory:
        """See `OperationsLedger.score_history`."""
        asked = {
            "of_kind": kind, "of_fingerprint": fingerprint, "label": label, "days": days,
            "max_rows": _HISTORY_ROWS,
        }  # fmt: skip
        return ScoreHistory(**self._client.call("score_history", asked)[0])

    def daily_outcomes(self, days: int) -> list[DayCount]:
        """See `OperationsLedger.daily_outcomes`."""
        rows = self._client.call("daily_outcomes", {"days": days})
        return [DayCount(**{**row, "day": date.fromisoformat(row["day"])}) for row in rows]

    def asset_file(self, asset_id: str) -> list[AssetVersion]:
        """See `OperationsLedger.asset_file`."""
        rows = self._client.call("asset_file", {"of_asset": asset_id, "max_rows": _VERSIONS})
        return [AssetVersion(**row) for row in rows]

    def ended_lately(self, limit: int) -> list[EndedAsset]:
        """See `OperationsLedger.ended_lately`."""
        return [EndedAsset(**row) for row in self._client.call("ended_lately", {"max_rows": limit})]

    def _pages(self, items: Sequence[Item]) -> Iterator[Sequence[Item]]:
        for start in range(0, len(items), self._page_rows):
            yield items[start : start + self._page_rows]
