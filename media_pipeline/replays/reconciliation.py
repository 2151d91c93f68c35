"""Objects, ledger, topic and Dagster, compared for an interval of time, page by page.

The comparisons are the functions at the top, pure. `reconcile` feeds them from the ports.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from media_pipeline.contracts.media_ingested import Rejected, parse_media_ingested
from media_pipeline.domain.ports import EventSource, Span
from media_pipeline.domain.reconciliation import (
    Announced,
    AssetEnd,
    EnrichedVersion,
    LedgerAudit,
    Materializations,
    OverdueEvent,
    StalledVersion,
    StoredObject,
    StoredObjects,
)
from media_pipeline.replays.findings import Finding, Findings
from media_pipeline.replays.steps import TopicRange, record_pages

_PAGE = 500
_OBJECTS = 1000
#: `derived/<kind>/<input digest>/<fingerprint>/<name>`
_PARTS = 5
_UNKNOWN_INPUT = "none"


# --- comparisons ------------------------------------------------------------------------------


def gaps(messages: Sequence[Announced], known: Sequence[str | None]) -> Iterator[Finding]:
    """Messages that nobody has taken. A redelivery is known by the version that it announces."""
    for one, how in zip(messages, known, strict=True):
        if how is None:
            asset_id = one.version[0] if one.version else None
            said = f"announces {asset_id}" if asset_id else "refused by the contract"
            record = one.record
            yield Finding(
                "gap", record.coordinates, said, "message", asset_id, record.partition,
                record.offset,
            )  # fmt: skip


def missing_objects(
    versions: Sequence[EnrichedVersion], present: Collection[str]
) -> Iterator[Finding]:
    """Objects that rows name and that are gone. Only the newest version can be made again."""
    for one in versions:
        for key in one.objects:
            if key not in present:
                replaced = "" if one.newest else ", replaced by a later version"
                yield Finding(
                    "missing_object", key, f"of {one.asset_id} {one.content_version}{replaced}",
                    "asset" if one.newest else None, one.asset_id,
                )  # fmt: skip


def unmaterialized(
    versions: Sequence[EnrichedVersion], latest: Mapping[str, float]
) -> Iterator[Finding]:
    """Newest versions that are enriched and that Dagster knows nothing of."""
    for one in versions:
        if one.newest and one.asset_id not in latest:
            yield Finding(
                "unmaterialized", one.asset_id, f"enriched at {one.finished_at}", "asset",
                one.asset_id,
            )  # fmt: skip


def unrecorded(
    materialized: Mapping[str, float], ends: Mapping[str, AssetEnd]
) -> Iterator[Finding]:
    """Materialized, but neither enriched in the ledger nor ended otherwise since."""
    for asset_id, at in materialized.items():
        end = ends.get(asset_id)
        if end is None:
            yield Finding("unrecorded", asset_id, "the ledger does not know it")
        elif not end.enriched and (end.finished is None or end.finished < at):
            yield Finding(
                "unrecorded", asset_id, "the ledger knows it, without that outcome", "asset",
                asset_id,
            )  # fmt: skip


def stalled(versions: Iterable[StalledVersion]) -> Iterator[Finding]:
    """Unfinished and nobody's."""
    for one in versions:
        said = f"{one.status}, silent for {one.idle / 60:.0f} min"
        yield Finding("stalled", one.asset_id, said, "asset", one.asset_id)


def overdue(events: Iterable[OverdueEvent]) -> Iterator[Finding]:
    """Events that wait in the outbox."""
    for one in events:
        yield Finding("overdue_event", one.event_id, f"for {one.topic}, {one.age / 60:.0f} min old")


def input_of(object_key: str) -> tuple[str, str] | None:
    """(kind, input digest) of a derived object; None for a key that is not ours or has no input."""
    parts = object_key.split("/")
    if len(parts) < _PARTS or parts[0] != "derived" or parts[2] == _UNKNOWN_INPUT:
        return None
    return parts[1], parts[2]


def orphans(
    objects: Sequence[StoredObject], known: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    """Objects of inputs that no row was made of. Those of an earlier processor version, whose
    input is known, are superseded and not told."""
    for one in objects:
        made_of = input_of(one.object_key)
        if made_of is not None and made_of not in known:
            at = datetime.fromtimestamp(one.modified, UTC).isoformat(timespec="seconds")
            yield Finding("orphan_object", one.object_key, f"stored at {at}")


# --- the whole --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Window:
    """Seconds since the epoch; `until` excluded."""

    since: float
    until: float

    def iso(self) -> tuple[str, str]:
        since, until = (datetime.fromtimestamp(one, UTC) for one in (self.since, self.until))
        return since.isoformat(), until.isoformat()

    def holds(self, moment: float) -> bool:
        return self.since <= moment < self.until


@dataclass(frozen=True)
class Facts:
    """Where the facts come from. `cursor`: what the sensor reads next, by Kafka partition."""

    topic: str
    events: EventSource
    objects: StoredObjects
    audit: LedgerAudit
    materializations: Materializations
    cursor: Mapping[int, int]
    allowed_buckets: Collection[str]


def reconcile(
    facts: Facts, window: Window, *, idle_seconds: int, keep: int = 5000,
    before_each: Callable[[str], None] = lambda _: None,
) -> Findings:  # fmt: skip
    """All comparisons of an interval; memory holds a page and the findings that are kept."""
    found = Findings(keep)
    for name, compare in (
        ("messages", _messages), ("versions", _versions), ("objects", _objects),
        ("materializations", _materializations), ("unfinished", _stalled),
    ):  # fmt: skip
        before_each(name)
        for looked_at, findings in compare(facts, window, idle_seconds):
            found.compared[name] += looked_at
            for one in findings:
                found.add(one)
    before_each("outbox")
    for one in overdue(facts.audit.overdue_events(idle_seconds, _PAGE)):
        found.add(one)
    return found


Compared = Iterator[tuple[int, Iterable[Finding]]]


def _messages(facts: Facts, window: Window, idle_seconds: int) -> Compared:
    del idle_seconds
    since_ms, until_ms = int(window.since * 1000), int(window.until * 1000)
    kept = facts.events.spans(facts.topic)
    starts = facts.events.offsets_at(facts.topic, since_ms)
    spans = {
        number: Span(
            starts[number], max(starts[number], min(span.end, facts.cursor.get(number, 0)))
        )
        for number, span in kept.items()
    }
    for records, _ in record_pages(facts.events, TopicRange(facts.topic, spans)):
        meant = []
        for record in records:
            if since_ms <= record.timestamp_ms < until_ms:
                parsed = parse_media_ingested(record, allowed_buckets=facts.allowed_buckets)
                version = (
                    None
                    if isinstance(parsed, Rejected)
                    else (parsed.asset_id, parsed.content_version)
                )
                meant.append(Announced(record, version))
        yield len(meant), gaps(meant, facts.audit.accounted(meant))


def _versions(facts: Facts, window: Window, idle_seconds: int) -> Compared:
    del idle_seconds
    after: EnrichedVersion | None = None
    while page := facts.audit.enriched(*window.iso(), after, _PAGE):
        present = facts.objects.present([key for one in page for key in one.objects])
        yield len(page), missing_objects(page, present)
        latest = facts.materializations.latest(sorted({one.asset_id for one in page}))
        yield 0, unmaterialized(page, latest)
        after = page[-1]


def _objects(facts: Facts, window: Window, idle_seconds: int) -> Compared:
    del idle_seconds
    after: str | None = None
    while page := facts.objects.list_objects("derived/", after, _OBJECTS):
        young = [one for one in page if window.holds(one.modified)]
        inputs = {made_of for one in young if (made_of := input_of(one.object_key))}
        known = facts.audit.known_inputs(sorted(inputs)) if inputs else set()
        yield len(young), orphans(young, known)
        after = page[-1].object_key


def _materializations(facts: Facts, window: Window, idle_seconds: int) -> Compared:
    del idle_seconds
    for page in facts.materializations.between(window.since, window.until):
        yield len(page), unrecorded(page, facts.audit.ends_of(sorted(page)))


def _stalled(facts: Facts, window: Window, idle_seconds: int) -> Compared:
    after: StalledVersion | None = None
    while page := facts.audit.stalled(*window.iso(), idle_seconds, after, _PAGE):
        yield len(page), stalled(page)
        after = page[-1]
