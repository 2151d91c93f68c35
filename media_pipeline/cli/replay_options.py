"""Options of `replay`: offsets and times as people write them, checked against what exists."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from media_pipeline.cli.dlq_options import moment
from media_pipeline.domain.ports import EventSource, Span
from media_pipeline.errors import PermanentError
from media_pipeline.replays.steps import TopicRange

_OFFSET = re.compile(r"(\d{1,6}):(\d{1,18})")

FromOffset = Annotated[
    list[str] | None,
    typer.Option(help="<Kafka partition>:<first offset>; repeatable. These partitions alone."),
]
FromTime = Annotated[
    str | None,
    typer.Option(help="Messages of that moment or later: 2026-01-31T12:00Z, or 90m, 2h, 7d ago."),
]
To = Annotated[
    list[str] | None,
    typer.Option(help="Up to, and without: an offset (P:N, repeatable) or a moment."),
]
FromSnapshot = Annotated[
    bool, typer.Option("--from-snapshot", help="Media assets of the ledger instead.")
]
OfAsset = Annotated[list[str] | None, typer.Option(help="Snapshot: this media asset id.")]
KindMissing = Annotated[
    list[str] | None, typer.Option(help="Snapshot: that have no row of this workload.")
]
Stale = Annotated[
    bool, typer.Option("--stale", help="Snapshot: made by another version, or missing.")
]
WithOutcome = Annotated[
    list[str] | None, typer.Option("--outcome", help="Snapshot: with such a row, as `timeout`.")
]
InStatus = Annotated[
    list[str] | None, typer.Option("--status", help="Snapshot: in that status, as `registered`.")
]
EndedSince = Annotated[
    str | None, typer.Option("--since", help="Snapshot: last outcome then or later.")
]
EndedUntil = Annotated[str | None, typer.Option("--until", help="Snapshot: last outcome before.")]
Force = Annotated[
    bool, typer.Option("--force", help="Also what is complete or a dead letter already.")
]
IdleMinutes = Annotated[
    float, typer.Option(min=0, help="Unfinished and silent for so long counts as lost.")
]
PortionSize = Annotated[int, typer.Option(min=500, max=5000, help="Media assets per backfill.")]
Resume = Annotated[
    str | None, typer.Option(help="Go on with that replay, or prove it; see `replays`.")
]


@dataclass(frozen=True, slots=True)
class Asked:
    """What was meant, and what the operator should know about it."""

    range: TopicRange
    notes: tuple[str, ...] = ()


def offsets(texts: Sequence[str], option: str) -> dict[int, int]:
    """`["0:17"]` -> `{0: 17}`."""
    found: dict[int, int] = {}
    for text in texts:
        match = _OFFSET.fullmatch(text)
        if match is None:
            raise typer.BadParameter(f"{option} {text!r} is not <Kafka partition>:<offset>")
        number = int(match[1])
        if number in found:
            raise typer.BadParameter(f"{option} names Kafka partition {number} twice")
        found[number] = int(match[2])
    return found


def past(text: str, option: str, now: datetime) -> datetime:
    """A moment; PermanentError when it has not come yet."""
    found = moment(text, now)
    if found > now:
        raise PermanentError(
            f"{option} {text}: {found.isoformat(timespec='seconds')} is in the future. Nothing was"
            " done.",
            remedy="name a moment that has passed; without a zone it is taken as UTC.",
            code="time_in_future",
        )
    return found


def topic_range(  # in the order of the options
    events: EventSource,
    topic: str,
    from_offset: Sequence[str],
    from_time: str | None,
    to: Sequence[str],
    cursor: Mapping[int, int],
    now: datetime | None = None,
) -> Asked:
    """The messages that the options mean. `cursor`: what the sensor reads next; what lies beyond
    it was not missed, and is left to the sensor."""
    now = now or datetime.now(UTC)
    spans = events.spans(topic)
    notes: list[str] = []
    since = past(from_time, "--from-time", now) if from_time else None
    until, ends = _until(to, now)
    if since is not None:
        at = events.offsets_at(topic, int(since.timestamp() * 1000))
        starts = dict(at)
        notes += _retention_notes(topic, spans, at)
    else:
        starts = offsets(from_offset, "--from-offset")
    for number, offset in starts.items():
        _require_known(topic, spans, number)
        _require_kept(topic, number, offset, spans[number])
    for number, end in ends.items():
        _require_known(topic, spans, number)
        if number not in starts:
            raise PermanentError(
                f"--to {number}:{end}: no start was given for Kafka partition {number}.",
                remedy="give --from-offset for it, or leave the --to out.",
                code="range_refused",
            )
        if not starts[number] <= end <= spans[number].end:
            raise PermanentError(
                f"--to {number}:{end} is not between {starts[number]} and {spans[number].end}.",
                remedy="name an offset that exists, after the start.",
                code="range_refused",
            )
    if since is not None and until is not None and until <= since:
        raise PermanentError(
            "--to is not after --from-time.", remedy="exchange them.", code="range_refused"
        )
    meant = {}
    for number, offset in starts.items():
        end, reached = ends.get(number, spans[number].end), cursor.get(number, 0)
        if end > reached:
            left = end - max(reached, offset)
            notes.append(
                f"Kafka partition {number}: the sensor has not come to {left} of these messages"
                f" (it reads {reached} next) and will read them itself."
            )
        meant[number] = Span(offset, max(offset, min(end, reached)))
    return Asked(TopicRange(topic, meant, _ms(since), _ms(until)), tuple(notes))


def _until(to: Sequence[str], now: datetime) -> tuple[datetime | None, dict[int, int]]:
    by_offset = [text for text in to if _OFFSET.fullmatch(text)]
    by_time = [text for text in to if text not in by_offset]
    if len(by_time) > 1 or (by_time and by_offset):
        raise typer.BadParameter("--to is one moment, or offsets, not both")
    return (past(by_time[0], "--to", now) if by_time else None), offsets(by_offset, "--to")


def _require_known(topic: str, spans: Mapping[int, Span], number: int) -> None:
    if number not in spans:
        raise PermanentError(
            f"{topic} has no Kafka partition {number}; there are {', '.join(map(str, spans))}."
            " Nothing was done.",
            remedy="name one that exists.",
            code="kafka_partition_missing",
        )


def _require_kept(topic: str, number: int, offset: int, span: Span) -> None:
    if offset < span.first:
        raise PermanentError(
            f"{topic}/{number}: offset {offset} is gone; retention has left {span.first} to"
            f" {span.end - 1 if span.size else 'nothing'}. Nothing was done.",
            remedy=f"replay what is there with --from-offset {number}:{span.first}, and what was"
            " registered before with --from-snapshot; what was neither kept nor registered must"
            " be announced again by its producers.",
            code="offset_out_of_range",
        )
    if offset > span.end:
        raise PermanentError(
            f"{topic}/{number}: offset {offset} does not exist yet; there are {span.first} to"
            f" {span.end - 1}. Nothing was done.",
            remedy="name an offset that exists.",
            code="offset_out_of_range",
        )


def _retention_notes(topic: str, spans: Mapping[int, Span], starts: Mapping[int, int]) -> list[str]:
    return [
        f"{topic}/{number} begins at offset {span.first}: retention may have taken messages of"
        " that time; --from-snapshot finds what the ledger has of them."
        for number, span in spans.items()
        if span.first and starts[number] == span.first
    ]


def _ms(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)
