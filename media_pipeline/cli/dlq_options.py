"""Options that the `dlq` commands share, and the filter that they make."""

from __future__ import annotations

import getpass
import os
import re
import socket
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, cast

import typer

from media_pipeline.domain.dead_letters import UNSETTLED, LetterFilter, State
from media_pipeline.errors import PermanentError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Source(StrEnum):
    """Values of --source."""

    AUTO = "auto"
    LEDGER = "ledger"
    TOPIC = "topic"


class StateChoice(StrEnum):
    """Values of --state."""

    OPEN = "open"
    VALIDATED = "validated"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    ALL = "all"


Ids = Annotated[list[str] | None, typer.Option("--id", help="These letters (repeatable).")]
IdsFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="A file with one id per line."),
]
Codes = Annotated[list[str] | None, typer.Option("--code", help="Error code, as `invalid`.")]
Stages = Annotated[list[str] | None, typer.Option("--stage", help="As `contract`, `text`.")]
Assets = Annotated[list[str] | None, typer.Option("--asset", help="Media asset id.")]
Fingerprints = Annotated[
    list[str] | None, typer.Option("--fingerprint", help="As `dlq list` shows it.")
]
States = Annotated[
    list[StateChoice] | None,
    typer.Option("--state", help="Default: open and validated. Without the ledger all are open."),
]
Since = Annotated[
    str | None, typer.Option(help="Last failure at or after: 2026-01-31T12:00Z, or 90m, 2h, 7d.")
]
Until = Annotated[str | None, typer.Option(help="Last failure before; as --since.")]
SourceOption = Annotated[
    Source, typer.Option("--source", help="auto: the ledger, or the topic when it is away.")
]
FromFile = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="An export instead of a source.")
]
Who = Annotated[str | None, typer.Option(help="Your name in the audit; default: your login.")]


def letter_filter(  # noqa: PLR0917  # in the order of the options
    ids: list[str] | None = None,
    ids_file: Path | None = None,
    codes: list[str] | None = None,
    stages: list[str] | None = None,
    assets: list[str] | None = None,
    fingerprints: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    states: list[StateChoice] | None = None,
    default_states: tuple[State, ...] = UNSETTLED,
) -> LetterFilter:
    """The filter that the options mean. Letters asked for by id are meant whatever their state."""
    now = datetime.now(UTC)
    named = frozenset([*(ids or ()), *(_ids_in(ids_file) if ids_file else ())])
    by_id = bool(ids) or ids_file is not None
    wanted = tuple(cast("State", one.value) for one in states or ())
    if StateChoice.ALL in (states or ()):
        wanted = ()
    elif not wanted and not by_id:
        wanted = default_states
    return LetterFilter(
        ids=named if by_id else None,
        states=wanted,
        codes=tuple(codes or ()),
        stages=tuple(stages or ()),
        assets=tuple(assets or ()),
        fingerprints=tuple(fingerprints or ()),
        since=moment(since, now) if since else None,
        until=moment(until, now) if until else None,
    )


def moment(text: str, now: datetime) -> datetime:
    """An instant, or how long ago; without a zone it is UTC."""
    ago = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if ago:
        return now - timedelta(**{_UNITS[ago.group(2)]: int(ago.group(1))})
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is neither an instant (2026-01-31T12:00Z) nor a time ago (90m, 2h, 7d)"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def operator(who: str | None) -> tuple[str, str]:
    """Who acts, and from where."""
    if not who:
        try:
            who = getpass.getuser()
        except (KeyError, OSError):  # a container's uid without a name
            who = f"uid {os.getuid()}"
    return who, socket.gethostname()


def _ids_in(file: Path) -> list[str]:
    ids = [line.strip() for line in file.read_text(errors="replace").splitlines()]
    ids = [one for one in ids if one and not one.startswith("#")]
    for number, one in enumerate(ids, 1):
        if not re.fullmatch(r"[0-9a-f-]{36}", one):
            raise PermanentError(
                f"{file}: entry {number} is no dead letter id: {one[:60]!r}. Nothing was done.",
                remedy="one id per line, as `media-pipeline dlq list --ids` prints them.",
                code="ids_file_refused",
            )
    return ids
