"""Ports: what the pipeline asks of the outside world.

Implemented in `resources` (real) and `tests/fakes` (in memory); the same contract
suite runs against both. Every method raises only errors of `media_pipeline.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from media_pipeline.domain.media_asset import MediaAsset, MessageRecord, SourceObject
from media_pipeline.domain.outcome import Derivative, Verdict

# --- object store ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FetchedObject:
    """A source object on local disk, verified; `digest` is sha256 hex."""

    path: Path
    digest: str
    size_bytes: int
    etag: str | None
    content_type: str | None


class ObjectStore(Protocol):
    """Uploaded objects are read from any allowed bucket; derived ones live in one bucket."""

    def fetch(self, source: SourceObject, into: Path, *, max_bytes: int) -> FetchedObject:
        """Download to the file `into` and verify every claim of `source`.

        Raises PermanentError with code `object_missing`, `object_changed` (etag, sha256
        or size differ from the claim), `too_large` (over `max_bytes`) or `empty` (0 bytes);
        TransientError for time-outs and 5xx; SystemicError for refused credentials or a
        missing bucket. A partial file never remains at `into`.
        """
        ...

    def put(self, object_key: str, data: bytes, content_type: str) -> None:
        """Store in the derived bucket; storing the same key again is harmless."""
        ...

    def get(self, object_key: str) -> bytes:
        """Read from the derived bucket; PermanentError `object_missing` when absent."""
        ...

    def upload(self, bucket: str, object_key: str, data: bytes, content_type: str | None) -> None:
        """Put a source object into an allowed bucket: for producers, never used by runs."""
        ...

    def list_keys(self, prefix: str) -> list[str]:
        """Keys in the derived bucket below `prefix`, sorted."""
        ...

    def link(self, object_key: str) -> str:
        """An address for people (UI metadata); never presigned, carries no secret."""
        ...

    def probe(self) -> None:
        """Raise when the store cannot be used (health check)."""
        ...


# --- metadata store (the ledger) ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arrival:
    """A valid message: the media asset it announces and the record as received."""

    asset: MediaAsset
    record: MessageRecord


@dataclass(frozen=True, slots=True)
class RejectedMessage:
    """An invalid message: kept byte for byte, with a reason. Becomes a dead letter."""

    record: MessageRecord
    stage: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Registration:
    """What the ledger knew of an arrival.

    `first_seen`: this (asset, content version) was new. `asset_known`: another content
    version of the asset existed before. `same_message`: the row was made, or opened again
    for a replay, by the very same Kafka record (now, or by a tick that died). `status` is the
    row's.
    """

    asset_id: str
    content_version: str
    first_seen: bool
    asset_known: bool
    same_message: bool
    status: str

    @property
    def finished(self) -> bool:
        return self.status in ("complete", "partial", "dead_lettered")


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write the outcome of one content version; a later claim outdates it."""

    asset: MediaAsset
    fence: int
    attempts: int
    previous_status: str


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """An event for the outbox: the exact bytes to publish, None included."""

    event_id: str
    topic: str
    key: bytes | None
    payload: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class DeadLetterEntry:
    """The reason; the ledger adds the original record, attempts and times itself."""

    dlq_id: str
    stage: str
    code: str
    error_class: str
    message: str


@dataclass(frozen=True, slots=True)
class AssetResult:
    """All that one run found out about one media asset: written in one transaction."""

    asset_id: str
    content_version: str
    fence: int
    verdict: Verdict
    content_digest: str | None
    size_bytes: int
    derivatives: tuple[Derivative, ...]
    event: OutgoingEvent | None = None
    dead_letter: DeadLetterEntry | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """Whether the ledger took a result; `reason` is `ok`, `stale_fence` or `unknown`."""

    asset_id: str
    content_version: str
    accepted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class LedgerCounts:
    """Content versions by status, and the outbox still to be published."""

    by_status: Mapping[str, int] = field(default_factory=dict)
    rejected: int = 0
    unpublished: int = 0


@dataclass(frozen=True, slots=True)
class StaleDerivative:
    """A kind of a media asset that a change touches. `fingerprint` and `seconds` are those
    recorded, None where the kind is missing."""

    asset_id: str
    content_version: str
    kind: str
    fingerprint: str | None
    seconds: float | None
    input_bytes: int | None


class MetadataStore(Protocol):
    """The ledger, the system of record. All calls are bulk and idempotent."""

    def register(self, arrivals: Sequence[Arrival]) -> list[Registration]:
        """Make rows for new content versions; answers one registration per arrival, in order."""
        ...

    def reject(self, messages: Sequence[RejectedMessage], pipeline_version: str) -> int:
        """Dead-letter invalid messages (row + outbox); answers how many were new."""
        ...

    def claim(
        self, run_id: str, root_run_id: str, asset_ids: Sequence[str], *, run_created: float = 0.0
    ) -> list[Claim]:
        """Claim one content version per asset: see deploy/postgres/migrations for the choice.

        Claiming again in the same run gives the same fence and counts no attempt. Unknown
        asset ids are left out of the answer. `run_created`: seconds since the epoch; once a
        try of the same root run that was created later has claimed, SystemicError
        `run_superseded`.
        """
        ...

    def record(
        self, run_id: str, results: Sequence[AssetResult], pipeline_version: str
    ) -> list[Recorded]:
        """Write outcomes, derivatives and outbox in one transaction; stale fences are refused."""
        ...

    def unpublished(self, limit: int) -> list[OutgoingEvent]:
        """Oldest outbox rows that were not marked as published."""
        ...

    def mark_published(self, event_ids: Sequence[str]) -> None: ...

    def derivatives(self, asset_ids: Sequence[str]) -> list[Derivative]:
        """Rows of the latest content version of each asset."""
        ...

    def stale(
        self, expected: Mapping[str, str], after_asset: str | None, limit: int
    ) -> list[StaleDerivative]:
        """Derivatives of finished media assets that are missing or have another fingerprint
        than `expected` (kind -> fingerprint), of at most `limit` media assets after that one,
        in order of media asset."""
        ...

    def mean_seconds(self) -> Mapping[str, float]:
        """Kind -> seconds that it took lately, per media asset."""
        ...

    def counts(self) -> LedgerCounts: ...

    def probe(self) -> None:
        """Raise when the ledger cannot be used (health check)."""
        ...


# --- event log (Kafka) ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Poll:
    """What one bounded read of a topic gave.

    `positions`: next offset to read per Kafka partition (all assigned ones, moved or not).
    `high_watermarks`: offset after the last record per Kafka partition, where known.
    """

    records: tuple[MessageRecord, ...]
    positions: Mapping[int, int]
    high_watermarks: Mapping[int, int]

    @property
    def lag(self) -> int:
        """Records between position and high watermark, over all Kafka partitions."""
        return sum(
            max(0, high - self.positions.get(partition, high))
            for partition, high in self.high_watermarks.items()
        )


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of one Kafka partition: from `first` up to, and without, `end`."""

    first: int
    end: int

    @property
    def size(self) -> int:
        """Offsets in it; compaction and control records may leave fewer records."""
        return max(0, self.end - self.first)


class EventSource(Protocol):
    """Reads a topic by explicit offsets; keeps no position of its own."""

    def poll(
        self,
        topic: str,
        positions: Mapping[int, int],
        *,
        max_records: int,
        deadline_seconds: float,
    ) -> Poll:
        """Read at most `max_records` from `positions` within the deadline.

        Kafka partitions without a position start at their beginning. A position that
        retention has overtaken raises SystemicError `offset_out_of_range` naming the
        range that exists. Returns early once every Kafka partition is read to its end.
        """
        ...

    def spans(self, topic: str) -> Mapping[int, Span]:
        """What each Kafka partition holds now: retention has taken what is below `first`."""
        ...

    def offsets_at(self, topic: str, timestamp_ms: int) -> Mapping[int, int]:
        """Per Kafka partition an offset before which every record is older than that moment.

        Records after it may be older as well (producers' clocks, whole batches): look at
        their own timestamps. The end of the Kafka partition where all are older.
        """
        ...

    def read(
        self,
        topic: str,
        spans: Mapping[int, Span],
        *,
        max_records: int,
        deadline_seconds: float,
    ) -> Poll:
        """As `poll`, but of these Kafka partitions alone and never beyond their spans.

        `positions` reaches a span's `end` when all of it was read.
        """
        ...

    def commit(self, topic: str, positions: Mapping[int, int]) -> None:
        """Mirror positions as the consumer group's offsets (for lag dashboards only)."""
        ...

    def committed(self, topic: str) -> Mapping[int, int]:
        """The mirrored offsets; Kafka partitions without one are left out."""
        ...


class EventSink(Protocol):
    """Publishes with acknowledgement from all in-sync replicas."""

    def publish(self, events: Sequence[OutgoingEvent]) -> None:
        """Returns when every event is acknowledged; raises otherwise (some may be out)."""
        ...


# --- credentials ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ObjectStoreKeys:
    """Keys that belong together: taken in one go, so that a rotation cannot mix old and new."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


class CredentialSource(Protocol):
    """Hands out secrets at the moment of use, so that a rotation needs no restart.

    Never log an answer. Errors: SystemicError `credentials_missing` or `credentials_refused`,
    TransientError `vault_unavailable`.
    """

    def secret(self, name: str) -> str:
        """The current value of `ledger_token`, `kafka_password`, `kafka_token`, or another name
        that resources/credentials lists."""
        ...

    def object_store_keys(self) -> ObjectStoreKeys:
        """The current keys of the object store."""
        ...

    def refused(self, name: str, value: str) -> None:
        """Somebody refused this value (keys of the object store: `object_store_access_key`): the
        next use fetches a new one, unless another thread has done so since."""
        ...
