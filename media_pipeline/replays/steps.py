"""From messages, or from media assets of the ledger, to steps: what would run, and what is left.

A step is a page of what was looked at. Nothing here changes anything: the same steps make the
plan that people see and the replay that follows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from media_pipeline.contracts.media_ingested import STAGE, Rejected, parse_media_ingested
from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.ports import Arrival, EventSource, RejectedMessage, Span
from media_pipeline.domain.reconciliation import Announced, LedgerAudit
from media_pipeline.domain.replays import (
    ENDED,
    CandidateFilter,
    KnownState,
    ReplayStore,
    Version,
)
from media_pipeline.errors import TransientError

#: Records or media assets per step: what memory holds.
PAGE = 500
_SCAN = 2000
#: A read starts anew at its offsets and fetches megabytes: many small ones would fetch them again.
_POLL_RECORDS = 2000
_POLL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Rules:
    """`force`: also what has ended. `idle_seconds`: unfinished without a sign of life for this
    long is nobody's. `replay_id`: whose own work is not in the way."""

    force: bool = False
    idle_seconds: int = 1800
    replay_id: str | None = None


@dataclass
class Step:
    """`counts`: what each thing looked at was, one word per thing. `place`: where to go on."""

    place: dict[str, Any]
    arrivals: list[Arrival] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)
    rejected: list[RejectedMessage] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def assets(self) -> set[str]:
        return {asset_id for asset_id, _ in self.versions}


def judge(known: KnownState, rules: Rules) -> tuple[bool, str]:
    """Whether a version runs, and the word that it is counted by."""
    if known.busy is not None:
        return False, "under_way"
    if known.state == "superseded":
        return False, known.state
    if known.state in ENDED:
        return rules.force, known.state
    return True, "missing" if known.state == "missing" else "unfinished"


# --- the topic --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TopicRange:
    """Messages that are meant: offsets, and within them record times in milliseconds
    (`since_ms` included, `until_ms` excluded). `only`: of these offsets alone."""

    topic: str
    spans: Mapping[int, Span]
    since_ms: int | None = None
    until_ms: int | None = None
    only: frozenset[tuple[int, int]] | None = None

    @property
    def size(self) -> int:
        return sum(span.size for span in self.spans.values())

    def from_place(self, place: Mapping[str, Any]) -> TopicRange:
        """What is left of it."""
        spans = {
            number: Span(int(place.get(str(number), span.first)), span.end)
            for number, span in self.spans.items()
        }
        return replace(self, spans=spans)

    def place(self) -> dict[str, Any]:
        return {str(number): span.first for number, span in self.spans.items()}

    def described(self) -> dict[str, Any]:
        """JSON-serializable; the inverse of `topic_range`."""
        return {
            "topic": self.topic,
            "spans": {str(number): [one.first, one.end] for number, one in self.spans.items()},
            "since_ms": self.since_ms,
            "until_ms": self.until_ms,
            "only": None if self.only is None else sorted(map(list, self.only)),
        }


def topic_range(wanted: Mapping[str, Any]) -> TopicRange:
    """The range that `TopicRange.described` described."""
    spans = {int(number): Span(*pair) for number, pair in wanted["spans"].items()}
    only = wanted.get("only")
    return TopicRange(
        wanted["topic"],
        spans,
        wanted["since_ms"],
        wanted["until_ms"],
        None if only is None else frozenset((number, offset) for number, offset in only),
    )


def exactly(topic: str, messages: Sequence[tuple[int, int]]) -> TopicRange:
    """The range of exactly these messages: (Kafka partition, offset)."""
    spans: dict[int, Span] = {}
    for number, offset in messages:
        known = spans.get(number, Span(offset, offset + 1))
        spans[number] = Span(min(known.first, offset), max(known.end, offset + 1))
    return TopicRange(topic, spans, only=frozenset(messages))


def topic_steps(
    events: EventSource,
    store: ReplayStore,
    audit: LedgerAudit,
    wanted: TopicRange,
    rules: Rules,
    allowed_buckets: Collection[str],
) -> Iterator[Step]:
    """Steps over the messages; TransientError when the end is not met."""
    place = wanted.place()
    for records, reached in record_pages(events, wanted):
        parsed = [_parsed(one, wanted, allowed_buckets) for one in records]
        refused = [one for one in parsed if isinstance(one, RejectedMessage)]
        how = audit.accounted([Announced(one.record, None) for one in refused])
        buried = {one.record.coordinates for one, known in zip(refused, how, strict=True) if known}
        arrivals = [one for one in parsed if isinstance(one, Arrival)]
        known = store.states(arrivals, rules.replay_id, rules.idle_seconds)
        yield from _steps_of(parsed, records, place, known, buried, rules)
        place = reached
    yield Step(place)


def record_pages(
    events: EventSource, wanted: TopicRange
) -> Iterator[tuple[Sequence[MessageRecord], dict[str, Any]]]:
    """Records page by page, with the place after each."""
    left = dict(wanted.spans)
    while any(span.size for span in left.values()):
        poll = events.read(
            wanted.topic, left, max_records=_POLL_RECORDS, deadline_seconds=_POLL_SECONDS
        )
        moved = {number: Span(poll.positions[number], span.end) for number, span in left.items()}
        if moved == left:
            missing = sum(span.size for span in left.values())
            raise TransientError(
                f"{wanted.topic} could not be read to the end that was asked for: {missing}"
                " offsets are missing.",
                remedy="check the brokers; the same command goes on where this one stopped.",
                code="event_log_unavailable",
            )
        place = {str(number): span.first for number, span in left.items()}
        left = moved
        for start in range(0, len(poll.records), PAGE):
            records = poll.records[start : start + PAGE]
            place |= {str(record.partition): record.offset + 1 for record in records}
            yield records, dict(place)
        ends = {str(number): span.first for number, span in left.items()}
        if ends != place:  # offsets without records: compaction, transactions
            yield (), ends


def _steps_of(  # a page, what is known of it, and the rules
    parsed: Sequence[Arrival | RejectedMessage | None],
    records: Sequence[MessageRecord],
    place: Mapping[str, Any],
    states: Sequence[KnownState],
    buried: Collection[str],
    rules: Rules,
) -> Iterator[Step]:
    """A page as steps in each of which a media asset comes once: a run claims one version of it.
    `states` are those of its arrivals; `buried`: coordinates of known dead letters."""
    known = iter(states)
    step, seen = Step(dict(place)), set[Version]()
    for record, found in zip(records, parsed, strict=True):
        if isinstance(found, Arrival):
            runs, word = judge(next(known), rules)
            version = (found.asset.asset_id, found.asset.content_version)
            if version in seen:
                runs, word = False, "repeated"
            seen.add(version)
            if runs and version[0] in step.assets:
                yield step
                step = Step(dict(step.place))
            step.counts[word] += 1
            if runs:
                step.versions.append(version)
                if word in ("missing", "unfinished"):
                    step.arrivals.append(found)
        elif found is None:
            step.counts["outside"] += 1
        elif record.coordinates in buried:
            step.counts["dead_lettered"] += 1
        else:
            step.counts["invalid"] += 1
            step.rejected.append(found)
        step.place[str(record.partition)] = record.offset + 1
    yield step


def _parsed(
    record: MessageRecord, wanted: TopicRange, allowed_buckets: Collection[str]
) -> Arrival | RejectedMessage | None:
    """None where the record is not meant."""
    if wanted.only is not None and (record.partition, record.offset) not in wanted.only:
        return None
    since, until = wanted.since_ms, wanted.until_ms
    if since is not None and record.timestamp_ms < since:
        return None
    if until is not None and record.timestamp_ms >= until:
        return None
    parsed = parse_media_ingested(record, allowed_buckets=allowed_buckets)
    if isinstance(parsed, Rejected):
        return RejectedMessage(record, STAGE, parsed.code, parsed.message)
    return Arrival(parsed, record)


# --- the ledger -------------------------------------------------------------------------------


def snapshot_steps(
    store: ReplayStore, wanted: CandidateFilter, rules: Rules, after: str | None
) -> Iterator[Step]:
    """Steps over media assets of the ledger: those that the filter means run, ended or not."""
    while True:
        page = store.candidates(wanted, after, _SCAN, rules.replay_id, rules.idle_seconds)
        last = page.after or (page.rows[-1].asset_id if page.rows else after)
        for start in range(0, len(page.rows), PAGE):
            rows = page.rows[start : start + PAGE]
            step = Step({"after": rows[-1].asset_id})
            for row in rows:
                if row.busy is not None:
                    step.counts["under_way"] += 1
                    continue
                step.counts[row.status if row.status in ENDED else "unfinished"] += 1
                step.versions.append((row.asset_id, row.content_version))
            yield step
        yield Step({"after": last})
        if page.after is None:
            return
        after = page.after
