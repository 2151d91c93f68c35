"""`reconcile`: do objects, ledger, topic and Dagster say the same? And putting it right."""

from __future__ import annotations

import json
import sys
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from media_pipeline.cli.dlq_options import Who, moment, operator

if TYPE_CHECKING:
    from media_pipeline.cli.replay_run import Request
    from media_pipeline.cli.world import World
    from media_pipeline.replays.findings import Findings
    from media_pipeline.replays.reconciliation import Window

_SHOWN = 10
_DAY = 24 * 3600


def register(app: typer.Typer) -> None:
    """Add `reconcile` to the command line."""
    app.command()(reconcile)


def reconcile(
    *,
    since: Annotated[
        str | None,
        typer.Option(help="From 2026-01-31T12:00Z, or 90m, 2h, 7d ago; default: a day before."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Up to, and without; default: --idle-minutes ago.")
    ] = None,
    idle_minutes: Annotated[
        float, typer.Option(min=0, help="What is younger may still be under way.")
    ] = 60.0,
    fix: Annotated[
        bool, typer.Option("--fix", help="Put right by replay; deletes and edits nothing.")
    ] = False,
    wait_seconds: Annotated[float, typer.Option(min=1, help="Patience of --fix.")] = 3600.0,
    who: Who = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Compare objects, ledger, topic and Dagster for an interval, and list what does not fit.

    Exit code 0: all fits, or --fix put right all that it can and nothing else was found;
    1: findings.
    """
    from media_pipeline.cli.world import World
    from media_pipeline.settings import load_settings

    world = World(load_settings())
    window = _window(since, until, idle_minutes)
    found = _compare(world, window, int(idle_minutes * 60))
    document = found.document()
    if not as_json:
        _show(found, window)
    clean = found.clean
    if fix and not clean:
        document["fix"], clean = _fix(world, found, operator(who), wait_seconds, as_json=as_json)
    if as_json:
        print(json.dumps(document))
    raise typer.Exit(0 if clean else 1)


def _window(since: str | None, until: str | None, idle_minutes: float) -> Window:
    from media_pipeline.replays.reconciliation import Window

    now = datetime.now(UTC)
    end = moment(until, now).timestamp() if until else now.timestamp() - idle_minutes * 60
    start = moment(since, now).timestamp() if since else end - _DAY
    if start >= end:
        raise typer.BadParameter(
            "the interval is empty: --since must lie before --until, which is --idle-minutes ago"
            " unless it is given"
        )
    return Window(start, end)


def _compare(world: World, window: Window, idle_seconds: int) -> Findings:
    from media_pipeline.cli.dagster_api import DagsterApi
    from media_pipeline.cli.dagster_materializations import ApiMaterializations
    from media_pipeline.replays.reconciliation import Facts
    from media_pipeline.replays.reconciliation import reconcile as compare
    from sensors.cursor import SensorCursor
    from sensors.media_events import NAME

    settings = world.settings
    dagster, topic = DagsterApi(settings.dagster_url), settings.kafka.ingested_topic
    facts = Facts(
        topic,
        world.event_source,
        world.stored_objects,
        world.ledger_audit,
        ApiMaterializations(dagster),
        SensorCursor.loads(dagster.sensor_cursor(NAME)).of(topic),
        settings.object_store.allowed_buckets,
    )
    return compare(
        facts, window, idle_seconds=idle_seconds,
        before_each=lambda name: print(f"comparing {name}", file=sys.stderr),
    )  # fmt: skip


def _show(found: Findings, window: Window) -> None:
    console = Console(soft_wrap=True, highlight=False)
    since, until = window.iso()
    compared = ", ".join(f"{number} {name}" for name, number in found.compared.items())
    console.print(f"{since} to {until}: compared {compared}")
    for one in found.kept[:_SHOWN]:
        console.print(escape(f"  {one.kind} {one.subject}: {one.detail}"))
    hidden = sum(found.counts.values()) - min(len(found.kept), _SHOWN)
    if hidden:
        console.print(f"  and {hidden} more; --json lists them")
    for line in found.lines():
        console.print(escape(line))
    if found.clean:
        console.print("all fits")


def _fix(
    world: World, found: Findings, who: tuple[str, str], wait_seconds: float, *, as_json: bool
) -> tuple[list[dict[str, Any]], bool]:
    """Replay what replaying puts right; answers what was done, and whether that was all."""
    from media_pipeline.cli.replay_run import await_end, launch, tell, the_replay

    done, good, replays = [], True, []
    for request in _requests(world, found):
        replay_id = str(uuid.uuid4())
        world.replay_store.begin(replay_id, request.source, request.wanted, *who, request.place)
        replays.append(the_replay(world, replay_id))
        good = launch(world, replays[-1], who, 1000) and good
    for one in replays:
        result = await_end(world, one, wait_seconds)
        good = good and result.good
        done.append(result.document())
        if not as_json:
            tell(result, as_json=False)
    left = sum(found.counts.values()) - sum(one.fix is not None for one in found.kept)
    if left and not as_json:
        print(f"{left} findings are not put right by a replay: see their remedies above")
    if good and not left and not as_json:
        print("all was put right; reconcile again to see")
    return done, good and not left


def _requests(world: World, found: Findings) -> list[Request]:
    """A replay of the messages, then one of the media assets."""
    from media_pipeline.cli.replay_run import Request
    from media_pipeline.domain.replays import CandidateFilter
    from media_pipeline.replays.steps import exactly

    settings = world.settings
    common = {"force": False, "idle_seconds": 0, "kinds": list(settings.workloads)}
    requests = []
    if messages := found.messages():
        meant = exactly(settings.kafka.ingested_topic, messages)
        requests.append(Request("topic", {"range": meant.described(), **common}, meant.place()))
    if assets := found.assets():
        wanted = CandidateFilter(assets=tuple(assets)).described()
        requests.append(Request("snapshot", {"filter": wanted, **common}, {"after": None}))
    return requests
