"""What those who run the pipeline ask of the ledger: the port, and the figures it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ScoreHistory:
    """Scores of a while: how many, their mean and standard deviation (None of too few)."""

    count: int
    mean: float | None = None
    deviation: float | None = None


@dataclass(frozen=True, slots=True)
class DayCount:
    """Outcomes of one kind on one day (UTC): how many, and seconds of work in all."""

    day: date
    kind: str
    outcome: str
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class AssetVersion:
    """One content version of a media asset as it stands in the ledger. Times are ISO 8601;
    `letters`: its dead letters with `dlq_id`, `stage`, `code`, `state`."""

    asset_id: str
    content_version: str
    status: str
    stage: str | None
    code: str | None
    message: str | None
    bucket: str
    object_key: str
    content_type: str | None
    size_bytes: int | None
    content_digest: str | None
    topic: str
    kafka_partition: int
    kafka_offset: int
    priority: str
    attempts: int
    fence: int
    run_id: str | None
    created_at: str
    claimed_at: str | None
    finished_at: str | None
    letters: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True, slots=True)
class EndedAsset:
    """A content version that ended, and when."""

    asset_id: str
    content_version: str
    status: str
    code: str | None
    finished_at: str


class OperationsLedger(Protocol):
    """Figures and lists from the ledger; every call reads a bounded number of rows.

    Raises only errors of `media_pipeline.errors`.
    """

    def retirable(self, asset_ids: Sequence[str], *, idle_seconds: float) -> list[str]:
        """Those of `asset_ids` all of whose content versions have ended, none of them finished
        or claimed within `idle_seconds`; in the order given. Unknown ids are left out."""
        ...

    def score_history(
        self, kind: str, fingerprint: str, label: str, *, days: float
    ) -> ScoreHistory:
        """Scores of `label` that derivatives of that kind and fingerprint got in the last days;
        of the newest few thousand."""
        ...

    def daily_outcomes(self, days: int) -> list[DayCount]:
        """Outcomes of the last days, today included, oldest first."""
        ...

    def asset_file(self, asset_id: str) -> list[AssetVersion]:
        """Content versions of a media asset, newest first; at most some fifty."""
        ...

    def ended_lately(self, limit: int) -> list[EndedAsset]:
        """What ended last, newest first."""
        ...
