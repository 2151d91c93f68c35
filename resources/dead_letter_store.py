"""Dead letters behind PostgREST: `DeadLetterStore` on the functions of migration 0020."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from media_pipeline.domain.dead_letters import (
    HistoryEntry,
    Lease,
    Letter,
    LetterAction,
    LetterFilter,
    Pause,
    VersionState,
)
from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.outcome import Code, Derivative, StoredArtifact
from resources.postgrest_client import PostgrestClient, Row

Item = TypeVar("Item")
#: Records may be as large as the broker takes: an answer holds this many.
_RECORDS = 50
_PAGE = 500


class PostgrestDeadLetterStore:
    """`DeadLetterStore`; every method answers from one or a few bounded requests."""

    def __init__(self, client: PostgrestClient) -> None:
        self._client = client

    def letters(self, wanted: LetterFilter, after: str | None, limit: int) -> list[Letter]:
        """See `DeadLetterStore.letters`."""
        asked = {
            "wanted": _wanted(wanted),
            "ids": None if wanted.ids is None else sorted(wanted.ids),
            "after_letter": after,
            "max_rows": limit,
        }
        return [_letter(row) for row in self._client.call("dead_letters", asked)]

    def records(self, dlq_ids: Sequence[str]) -> dict[str, MessageRecord]:
        """See `DeadLetterStore.records`."""
        return {
            row["dlq_id"]: _record(row)
            for page in _pages(dlq_ids, _RECORDS)
            for row in self._client.call("dead_letter_records", {"ids": list(page)})
        }

    def history(self, dlq_id: str) -> list[HistoryEntry]:
        """See `DeadLetterStore.history`."""
        rows = self._client.call("dead_letter_history_of", {"letter": dlq_id})
        return [HistoryEntry(**row) for row in rows]

    def act(self, action: LetterAction, letters: Sequence[Letter]) -> list[str]:
        """See `DeadLetterStore.act`."""
        moved: list[str] = []
        for page in list(_pages(letters, _PAGE)) or [()]:
            rows = self._client.call(
                "act_on_letters",
                {
                    "action_id": action.action_id,
                    "action": action.action,
                    "who": action.who,
                    "host": action.host,
                    "wanted": dict(action.wanted),
                    "reason": action.reason,
                    "letters": [
                        {"dlq_id": one.dlq_id, "replay_count": one.replay_count} for one in page
                    ],
                },
            )
            moved += [row["letter"] for row in rows]
        return moved

    def versions(self, versions: Sequence[tuple[str, str]]) -> list[VersionState]:
        """See `DeadLetterStore.versions`."""
        return [
            VersionState(
                row["asset_id"],
                row["content_version"],
                row["status"],
                row["fence"],
                tuple(_derivative(one) for one in row["derivatives"]),
            )
            for page in _pages(versions, _PAGE)
            for row in self._client.call(
                "version_states",
                {
                    "versions": [
                        {"asset_id": asset_id, "content_version": version}
                        for asset_id, version in page
                    ]
                },
            )
        ]

    def take_lease(self, name: str, token: str, holder: str, host: str, seconds: int) -> Lease:
        """See `DeadLetterStore.take_lease`."""
        asked = {
            "lease_name": name, "lease_token": token, "lease_holder": holder, "lease_host": host,
            "seconds": seconds,
        }  # fmt: skip
        return Lease(**self._client.call("take_lease", asked)[0])

    def release_lease(self, name: str, token: str) -> None:
        """See `DeadLetterStore.release_lease`."""
        self._client.call("release_lease", {"lease_name": name, "lease_token": token})

    def pause(self) -> Pause | None:
        """See `DeadLetterStore.pause`."""
        rows = self._client.call("newest_pause", {})
        return Pause(**rows[0]) if rows else None


def _pages(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _wanted(wanted: LetterFilter) -> Row:
    """Ids go apart, and fingerprints are not the ledger's to know."""
    described = wanted.described()
    described.pop("ids", None)
    described.pop("fingerprints", None)
    if wanted.replay_id is not None:
        described["replay_id"] = wanted.replay_id
    return described


def _letter(row: Row) -> Letter:
    fields = dict(row)
    fields["partition"] = fields.pop("kafka_partition")
    fields["offset"] = fields.pop("kafka_offset")
    fields["timestamp_ms"] = fields.pop("record_timestamp")
    return Letter(**fields)


def _record(row: Row) -> MessageRecord:
    return MessageRecord(
        topic=row["topic"],
        partition=row["kafka_partition"],
        offset=row["kafka_offset"],
        timestamp_ms=row["record_timestamp"],
        key=_bytes(row["record_key"]),
        value=_bytes(row["record_value"]),
        headers=tuple((name, _bytes(value) or b"") for name, value in row["record_headers"]),
    )


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _derivative(row: Row) -> Derivative:
    fields: dict[str, Any] = {**row, "code": Code(row["outcome"])}
    fields["artifacts"] = tuple(StoredArtifact(**part) for part in row["artifacts"])
    del fields["outcome"]
    return Derivative(**fields)
