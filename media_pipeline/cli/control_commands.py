"""`pause` and `resume`, and what `status` says of pauses and breakers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from media_pipeline.cli.dlq_options import operator
from media_pipeline.domain.recovery import PAUSE_ALL, Controls, flag_name, scope_of
from media_pipeline.errors import PermanentError

if TYPE_CHECKING:
    from media_pipeline.settings import Settings

Workload = Annotated[
    str | None, typer.Option(help="Only this workload; media assets are enriched without it.")
]
Bucket = Annotated[
    str | None, typer.Option(help="Only messages of this bucket; they are taken and held.")
]
Reason = Annotated[str, typer.Option(help="Why: stays in the ledger and in each tick's log.")]
Who = Annotated[str | None, typer.Option(help="Who decides; default: the user of this shell.")]


def register(app: typer.Typer) -> None:
    """Add `pause` and `resume` to the command line."""
    app.command()(pause)
    app.command()(resume)


def pause(
    reason: Reason, workload: Workload = None, bucket: Bucket = None, who: Who = None
) -> None:
    """Stop launching runs for new messages: all, one workload's work, or one bucket's messages.

    Runs that are under way end. Messages stay in the topic; nothing is lost.
    """
    scope = _set(workload, bucket, reason, who, paused=True)
    print(f"paused {scope}; the sensor honours it with its next tick")


def resume(
    reason: Reason = "over", workload: Workload = None, bucket: Bucket = None, who: Who = None
) -> None:
    """End a pause of the same scope."""
    scope = _set(workload, bucket, reason, who, paused=False)
    print(f"resumed {scope}")
    if workload:
        print(f"make what was left out: media-pipeline stale --kind {workload} --backfill")


def _set(
    workload: str | None, bucket: str | None, reason: str, who: str | None, *, paused: bool
) -> str:
    from media_pipeline.cli.world import World  # quick --help
    from media_pipeline.settings import load_settings

    settings = load_settings()
    scope = scope_from(settings, workload, bucket)
    name, _ = operator(who)
    store = World(settings).recovery_store
    if not paused and store.controls().pause(scope) is None:
        raise PermanentError(
            f"{scope} is not paused.",
            remedy="`media-pipeline status` shows what is.",
            code="not_paused",
        )
    store.set_flag(flag_name(scope), {"paused": paused}, reason=reason, who=name)
    return scope


def scope_from(settings: Settings, workload: str | None, bucket: str | None) -> str:
    """`all`, `workload:<kind>` or `bucket:<name>`; PermanentError for one that is not there."""
    if workload and bucket:
        raise PermanentError(
            "a pause has one scope.", remedy="pause one after the other.", code="two_scopes"
        )
    for what, given, there in (
        ("workload", workload, settings.workloads),
        ("bucket", bucket, settings.object_store.allowed_buckets),
    ):
        if given and given not in there:
            raise PermanentError(
                f"there is no {what} {given!r}.",
                remedy=f"name one of: {', '.join(there)}.",
                code=f"unknown_{what}",
            )
        if given:
            return f"{what}:{given}"
    return PAUSE_ALL


def print_controls(controls: Controls, console: Console) -> None:
    """What keeps the intake from launching, or that nothing does."""
    if not controls.pauses() and not controls.breakers:
        console.print("intake: open; no pause, no breaker")
        return
    table = Table(title="intake")
    for column in ("what", "since", "by", "why"):
        table.add_column(column, overflow="fold")
    for flag in controls.pauses():
        what = f"paused: {scope_of(flag.name)}"
        table.add_row(what, _time(flag.at), escape(flag.who), escape(flag.reason))
    for one in controls.breakers:
        wait = f"; probed in {max(0, round(one.retry_in_seconds))} s" * (one.state == "open")
        table.add_row(
            f"breaker {one.code}: {one.state}{wait}",
            _time(one.opened_at),
            f"run {one.run_id}",
            escape(one.message),
        )
    console.print(table)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
