"""What a reconciliation compares: values, and the ports that tell it the facts.

`LedgerAudit` is implemented by `resources.ledger_audit` and `tests/fakes/ledger_audit.py`; one
contract suite runs against both. `Materializations` is Dagster, asked by whoever may.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from media_pipeline.domain.media_asset import MessageRecord


@dataclass(frozen=True, slots=True)
class Announced:
    """A message, and the version that it announces; None where the contract refuses it."""

    record: MessageRecord
    version: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class EnrichedVersion:
    """A complete or partial version. `objects`: every key its rows name. `newest`: a backfill
    would run this one. `finished_at`: ISO 8601, exact enough to page by."""

    asset_id: str
    content_version: str
    finished_at: str
    newest: bool
    objects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StalledVersion:
    """An unfinished version that nobody is at; `idle` seconds since the last sign of life."""

    asset_id: str
    content_version: str
    status: str
    idle: float


@dataclass(frozen=True, slots=True)
class OverdueEvent:
    """An outbox row that was not published; `age` in seconds."""

    event_id: str
    topic: str
    age: float


@dataclass(frozen=True, slots=True)
class AssetEnd:
    """`enriched`: some version is complete or partial. `finished`: when the last version ended,
    seconds since the epoch."""

    enriched: bool
    finished: float | None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of the derived bucket; `modified`: seconds since the epoch."""

    object_key: str
    modified: float


class StoredObjects(Protocol):
    """The derived bucket; implemented by the object stores of `ports.ObjectStore`, and held by
    the same contract suite."""

    def list_objects(self, prefix: str, after: str | None, limit: int) -> list[StoredObject]:
        """Objects below `prefix` after that one, in the store's own order (S3 sorts by key, some
        stores folder by folder): each object once, as long as `after` is the last one seen."""
        ...

    def present(self, object_keys: Sequence[str]) -> set[str]:
        """Of these keys those that exist."""
        ...


class LedgerAudit(Protocol):
    """What the ledger says, page by page; changes nothing. Times are ISO 8601 in UTC, `until`
    is excluded. Raises only errors of `media_pipeline.errors`."""

    def accounted(self, messages: Sequence[Announced]) -> list[str | None]:
        """In order: `row`, `letter`, `superseded`, or None for what nobody has ever taken."""
        ...

    def enriched(
        self, since: str, until: str, after: EnrichedVersion | None, limit: int
    ) -> list[EnrichedVersion]:
        """Versions that were enriched in the interval, in the order of their end."""
        ...

    def stalled(
        self, since: str, until: str, idle_seconds: int, after: StalledVersion | None, limit: int
    ) -> list[StalledVersion]:
        """Unfinished versions that arrived in the interval and that nobody is at."""
        ...

    def known_inputs(self, inputs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Of these (kind, digest of the input) those that some derivative was made of."""
        ...

    def overdue_events(self, older_seconds: int, limit: int) -> list[OverdueEvent]:
        """Oldest unpublished outbox rows of at least that age."""
        ...

    def ends_of(self, asset_ids: Sequence[str]) -> Mapping[str, AssetEnd]:
        """By media asset; unknown ones are left out."""
        ...


class Materializations(Protocol):
    """Which media assets Dagster records as enriched."""

    def latest(self, asset_ids: Sequence[str]) -> Mapping[str, float]:
        """Media asset -> time of the last materialization (seconds since the epoch)."""
        ...

    def between(self, since: float, until: float) -> Iterator[Mapping[str, float]]:
        """The same for all materializations of an interval, page by page."""
        ...
