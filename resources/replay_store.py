"""Replays behind PostgREST: `ReplayStore` on the functions of migration 0030."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from media_pipeline.domain.outcome import Code, Derivative, StoredArtifact
from media_pipeline.domain.ports import Arrival
from media_pipeline.domain.replays import (
    Candidate,
    CandidateFilter,
    CandidatePage,
    ItemEnd,
    KnownState,
    Portion,
    Replay,
    Source,
    Version,
)
from resources.metadata_store import arrival_row
from resources.postgrest_client import PostgrestClient, Row


class PostgrestReplayStore:
    """`ReplayStore`; every method is one bounded request."""

    def __init__(self, client: PostgrestClient) -> None:
        self._client = client

    def states(
        self, arrivals: Sequence[Arrival], replay_id: str | None, idle_seconds: int
    ) -> list[KnownState]:
        """See `ReplayStore.states`."""
        if not arrivals:
            return []
        asked = [
            {
                "asset_id": one.asset.asset_id,
                "content_version": one.asset.content_version,
                "topic": one.record.topic,
                "kafka_partition": one.record.partition,
                "kafka_offset": one.record.offset,
                "record_timestamp": one.record.timestamp_ms,
            }
            for one in arrivals
        ]
        rows = self._client.call(
            "replay_states",
            {"arrivals": asked, "own_replay": replay_id, "idle_seconds": idle_seconds},
        )
        return [KnownState(**row) for row in rows]

    def candidates(
        self,
        wanted: CandidateFilter,
        after: str | None,
        scan: int,
        replay_id: str | None,
        idle_seconds: int,
    ) -> CandidatePage:
        """See `ReplayStore.candidates`."""
        page = self._client.call(
            "replay_candidates",
            {
                "wanted": wanted.described(),
                "after_asset": after,
                "scan": scan,
                "own_replay": replay_id,
                "idle_seconds": idle_seconds,
            },
        )
        return CandidatePage(tuple(Candidate(**row) for row in page["rows"]), page["after"])

    def begin(
        self, replay_id: str, source: Source, wanted: Mapping[str, Any], who: str, host: str,
        place: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """See `ReplayStore.begin`."""
        asked = {
            "replay_id": replay_id, "source": source, "wanted": dict(wanted), "who": who,
            "host": host, "place": dict(place),
        }  # fmt: skip
        self._client.call("begin_replay", asked)

    def note(self, replay_id: str, portion: Portion) -> list[str]:
        """See `ReplayStore.note`."""
        rows = self._client.call(
            "note_replay_portion",
            {
                "of_replay": replay_id,
                "portion": portion.number,
                "moved_to": dict(portion.place),
                "totals": dict(portion.counts),
                "arrivals": [arrival_row(one) for one in portion.arrivals],
                "items": [
                    {"asset_id": asset_id, "content_version": version}
                    for asset_id, version in portion.versions
                ],
                "complete": portion.complete,
            },
        )
        return [row["asset_id"] for row in rows]

    def launched(self, replay_id: str, number: int, backfill_id: str) -> None:
        """See `ReplayStore.launched`."""
        asked = {"of_replay": replay_id, "portion": number, "launched": backfill_id}
        self._client.call("note_replay_launch", asked)

    def replays(self, replay_id: str | None, limit: int) -> list[Replay]:
        """See `ReplayStore.replays`."""
        rows = self._client.call("replays", {"of_replay": replay_id, "max_rows": limit})
        return [_replay(row) for row in rows]

    def assets_of(self, replay_id: str, number: int) -> list[str]:
        """See `ReplayStore.assets_of`."""
        asked = {"of_replay": replay_id, "portion": number}
        return [row["asset_id"] for row in self._client.call("replay_portion_assets", asked)]

    def ends(self, replay_id: str, after: Version | None, limit: int) -> list[ItemEnd]:
        """See `ReplayStore.ends`."""
        asset_id, version = after or (None, None)
        asked = {
            "of_replay": replay_id, "after_asset": asset_id, "after_version": version,
            "max_rows": limit,
        }  # fmt: skip
        return [_item_end(row) for row in self._client.call("replay_ends", asked)]

    def end(self, replay_id: str, proof: Mapping[str, Any]) -> None:
        """See `ReplayStore.end`."""
        self._client.call("end_replay", {"of_replay": replay_id, "proven": dict(proof)})


def _replay(row: Row) -> Replay:
    backfills = {one["number"]: one["backfill_id"] for one in row["backfills"]}
    return Replay(**{**row, "backfills": backfills})


def _item_end(row: Row) -> ItemEnd:
    asset_id, version = row["asset_id"], row["content_version"]
    return ItemEnd(
        asset_id=asset_id,
        content_version=version,
        status=row["status"],
        ended=row["ended"],
        superseded=row["superseded"],
        before=tuple(_shown(one, asset_id, version) for one in row["rows_before"]),
        now=tuple(_shown(one, asset_id, version) for one in row["rows_now"]),
    )


def _shown(row: Row, asset_id: str, version: str) -> Derivative:
    """A derivative with what proves it alone."""
    return Derivative(
        asset_id=asset_id,
        content_version=version,
        fence=0,
        kind=row["kind"],
        fingerprint=row["fingerprint"],
        input_digest=row["input_digest"],
        input_bytes=0,
        code=Code(row["outcome"]),
        message="",
        artifacts=tuple(StoredArtifact(**part) for part in row["artifacts"]),
        attributes={},
        seconds=0.0,
    )
