"""Named outcomes: what happened to one (media asset, kind), and to the media asset as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class Code(StrEnum):
    """How processing one kind of one media asset ended."""

    OK = "ok"
    NOT_APPLICABLE = "not_applicable"  # a photo has no text layer: handled, not a failure
    UNSUPPORTED = "unsupported"  # a type that nothing here reads: handled, reason kept
    ENCRYPTED = "encrypted"
    INVALID = "invalid"
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASH = "crash"
    OBJECT_MISSING = "object_missing"
    OBJECT_CHANGED = "object_changed"
    DEFERRED = "deferred"  # its workload is paused; a backfill makes it later
    TRANSIENT = "transient"  # retries ran out in this run; the run retry takes over

    @property
    def handled(self) -> bool:
        """True where the kind is done for good and its asset partition may be materialized."""
        return self in _HANDLED

    @property
    def permanent(self) -> bool:
        """True where the same bytes would fail again: a dead letter, never a retry."""
        return not self.handled and self not in (Code.TRANSIENT, Code.DEFERRED)


_HANDLED = frozenset({Code.OK, Code.NOT_APPLICABLE, Code.UNSUPPORTED})


@dataclass(frozen=True, slots=True)
class Artifact:
    """One produced file: `name` is unique within its kind (`text.json.gz`, `512.webp`)."""

    name: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ProcessorResult:
    """What a processor returns for one input: bytes in, this out.

    `attributes` is JSON-serializable and small (it becomes a ledger column and UI
    metadata). `preview` is a tiny image (at most a few kB, WebP) for people to look at.
    `seconds` is wall time inside the processor.
    """

    code: Code
    message: str = ""
    artifacts: tuple[Artifact, ...] = ()
    attributes: Mapping[str, object] = field(default_factory=dict)
    preview: bytes | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """An artifact after it was stored; `digest` is sha256 hex, `size_bytes` bytes stored."""

    name: str
    content_type: str
    object_key: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to one kind of one media asset, before storage."""

    asset_id: str
    content_version: str
    fence: int
    kind: str
    fingerprint: str
    input_digest: str | None
    input_bytes: int
    result: ProcessorResult


@dataclass(frozen=True, slots=True)
class Derivative:
    """What happened to one kind of one media asset, after storage: a ledger row."""

    asset_id: str
    content_version: str
    fence: int
    kind: str
    fingerprint: str
    input_digest: str | None
    input_bytes: int
    code: Code
    message: str
    artifacts: tuple[StoredArtifact, ...]
    attributes: Mapping[str, object]
    seconds: float


Status = Literal["complete", "partial", "dead_lettered", "retry"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The media asset as a whole; `stage` and `code` name the failure that decided it."""

    status: Status
    stage: str = ""
    code: str = ""
    message: str = ""


def verdict(derivatives: Iterable[Derivative]) -> Verdict:
    """Decide how a media asset ends from how each of its kinds ended.

    - any kind still transient: `retry` (nothing is recorded as final),
    - nothing usable and at least one permanent failure: `dead_lettered` by the first,
    - everything done or not applicable: `complete`,
    - some usable or deferred, or a type that nothing here reads: `partial`, with the reason.
    """
    rows = list(derivatives)
    for row in rows:
        if row.code is Code.TRANSIENT:
            return Verdict("retry", row.kind, row.code, row.message)
    failed = [row for row in rows if row.code.permanent]
    usable = [row for row in rows if row.code is Code.OK]
    deferred = [row for row in rows if row.code is Code.DEFERRED]
    if failed and not usable and not deferred:
        first = failed[0]
        return Verdict("dead_lettered", first.kind, first.code, first.message)
    if failed:
        first = failed[0]
        return Verdict("partial", first.kind, first.code, first.message)
    if not rows:
        return Verdict("retry", "", Code.TRANSIENT, "no kind was processed")
    unsupported = [row for row in rows if row.code is Code.UNSUPPORTED]
    if unsupported or deferred or not usable:
        first = (deferred or unsupported or rows)[0]
        return Verdict("partial", first.kind, first.code, first.message)
    return Verdict("complete")


class Outcomes:
    """Outcomes of one batch as they become known, so that storing overlaps with processing.

    May be iterated once. `expected` is how many outcomes will come at most. Not a
    generator on purpose: Dagster would take a generator's items for events.
    """

    def __init__(self, outcomes: Iterable[Outcome], *, expected: int) -> None:
        self._outcomes = outcomes
        self.expected = expected

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self._outcomes)


class Derivatives(dict[str, Derivative]):
    """Partition key -> how that kind ended, failures included; payloads stay in the store."""
