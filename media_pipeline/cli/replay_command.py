"""`replay`: get back what was missed, from the topic or from the ledger; `replays`: which were."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from media_pipeline.cli.dlq_options import Who, moment, operator
from media_pipeline.cli.replay_options import (
    EndedSince,
    EndedUntil,
    Force,
    FromOffset,
    FromSnapshot,
    FromTime,
    IdleMinutes,
    InStatus,
    KindMissing,
    OfAsset,
    PortionSize,
    Resume,
    Stale,
    To,
    WithOutcome,
)
from media_pipeline.errors import PermanentError

if TYPE_CHECKING:
    from media_pipeline.cli.replay_run import Request
    from media_pipeline.cli.world import World
    from media_pipeline.settings import Settings

_STATUSES = ("registered", "claimed", "retry", "complete", "partial", "dead_lettered")

Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def register(app: typer.Typer) -> None:
    """Add `replay` and `replays` to the command line."""
    app.command()(replay)
    app.command()(replays)


def replay(
    *,
    from_offset: FromOffset = None, from_time: FromTime = None, to: To = None,
    from_snapshot: FromSnapshot = False, asset: OfAsset = None, kind_missing: KindMissing = None,
    stale: Stale = False, outcome: WithOutcome = None, status: InStatus = None,
    since: EndedSince = None, until: EndedUntil = None, force: Force = False,
    idle_minutes: IdleMinutes = 30.0, portion: PortionSize = 1000, resume: Resume = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without: only the plan.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until all has ended; then prove what was done.")
    ] = False,
    wait_seconds: Annotated[float, typer.Option(min=1, help="Patience of --wait.")] = 3600.0,
    who: Who = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Run again what was missed, in backfills that give way to live media.

    Exit code 1: duplicates, or not all have ended; 130: interrupted, --resume goes on.
    """
    from media_pipeline.cli.replay_run import perform, tell, the_replay
    from media_pipeline.cli.world import World
    from media_pipeline.settings import load_settings

    settings = load_settings()
    world, name = World(settings), operator(who)
    if resume is not None:
        found = the_replay(world, resume)
        if not yes:
            raise typer.BadParameter("--resume goes on with a replay: add --yes")
    else:
        wanted = {
            "assets": asset, "kinds_missing": kind_missing, "outcomes": outcome,
            "statuses": status, "since": since, "until": until,
        }  # fmt: skip
        _require_one_source(from_offset, from_time, wanted, snapshot=from_snapshot, stale=stale)
        if from_snapshot and to:
            raise typer.BadParameter("--to ends a range of messages; media assets have --until")
        common = {"force": force, "idle_seconds": int(idle_minutes * 60)}
        if from_snapshot:
            request, notes = _snapshot(settings, wanted, common, stale=stale), list[str]()
        else:
            request, notes = _topic(world, from_offset or [], from_time, to or [], common)
        if not _planned(world, request, notes, yes=yes, as_json=as_json):
            return
        replay_id = str(uuid.uuid4())
        world.replay_store.begin(replay_id, request.source, request.wanted, *name, request.place)
        found = the_replay(world, replay_id)
    patience = wait_seconds if wait else None
    raise typer.Exit(tell(perform(world, found, name, portion, patience), as_json=as_json))


def replays(as_json: Json = False) -> None:
    """List the newest replays of missed events: who, what, and how far."""
    from media_pipeline.cli.world import World
    from media_pipeline.settings import load_settings

    found = World(load_settings()).replay_store.replays(None, 20)
    if as_json:
        rows = [{**_fields(one), "backfills": len(one.backfills)} for one in found]
        print(json.dumps(rows))
        return
    table = Table()
    for column in ("replay", "started", "who", "from", "read", "ended", "proof"):
        table.add_column(column, overflow="fold")
    for one in found:
        proof = json.dumps(one.proof) if one.proof else ""
        table.add_row(
            one.replay_id, one.started_at, f"{one.who} on {one.host}", one.source,
            "all" if one.was_read else "not all", f"{one.ended} of {one.items}", proof,
        )  # fmt: skip
    Console().print(table)


def _fields(one: Any) -> dict[str, Any]:
    names = (
        "replay_id", "source", "wanted", "who", "host", "place", "counts", "started_at", "was_read",
        "items", "ended", "proof",
    )  # fmt: skip
    return {name: getattr(one, name) for name in names}


def _require_one_source(
    from_offset: list[str] | None,
    from_time: str | None,
    wanted: dict[str, Any],
    *,
    snapshot: bool,
    stale: bool,
) -> None:
    if sum((bool(from_offset), from_time is not None, snapshot)) != 1:
        raise typer.BadParameter("say from where: --from-offset, --from-time or --from-snapshot")
    if not snapshot and (stale or any(wanted.values())):
        raise typer.BadParameter("filters of media assets belong to --from-snapshot")
    if snapshot and not (stale or any(wanted.values())):
        raise typer.BadParameter(
            "--from-snapshot alone would mean the whole ledger: say which with --kind-missing,"
            " --stale, --outcome, --status, --asset, --since or --until"
        )


def _topic(
    world: World, from_offset: list[str], from_time: str | None, to: list[str],
    common: dict[str, Any],
) -> tuple[Request, list[str]]:  # fmt: skip
    """The request for messages of the topic, and what the operator should know."""
    from media_pipeline.cli.dagster_api import DagsterApi
    from media_pipeline.cli.replay_options import topic_range
    from media_pipeline.cli.replay_run import Request
    from sensors.cursor import SensorCursor
    from sensors.media_events import NAME

    settings = world.settings
    topic = settings.kafka.ingested_topic
    raw = DagsterApi(settings.dagster_url).sensor_cursor(NAME)
    cursor = SensorCursor.loads(raw).of(topic)
    asked = topic_range(world.event_source, topic, from_offset, from_time, to, cursor)
    described = {"range": asked.range.described(), "kinds": list(settings.workloads), **common}
    return Request("topic", described, asked.range.place()), list(asked.notes)


def _snapshot(
    settings: Settings, wanted: dict[str, Any], common: dict[str, Any], *, stale: bool
) -> Request:
    """The request for media assets of the ledger; PermanentError for words that mean nothing."""
    from datetime import UTC, datetime

    from media_pipeline.cli.replay_run import Request
    from media_pipeline.domain.outcome import Code
    from media_pipeline.domain.replays import candidate_filter
    from media_pipeline.fingerprints import expected_fingerprints

    given = {name: value for name, value in wanted.items() if value}
    _require_words("--kind-missing", given.get("kinds_missing", []), settings.workloads)
    _require_words("--outcome", given.get("outcomes", []), [str(code) for code in Code])
    _require_words("--status", given.get("statuses", []), _STATUSES)
    for name in ("since", "until"):
        if name in given:
            given[name] = moment(given[name], datetime.now(UTC)).isoformat()
    if stale:
        given["stale"] = expected_fingerprints(settings)
    meant = candidate_filter(given)
    # Other kinds keep what they have: enrichment reads it from their materializations.
    kinds = list(meant.kinds_missing or settings.workloads)
    described = {"filter": meant.described(), "kinds": kinds, **common}
    return Request("snapshot", described, {"after": None})


def _require_words(option: str, given: list[str], known: Any) -> None:
    for word in given:
        if word not in known:
            raise PermanentError(
                f"{option} {word!r} is unknown; there are: {', '.join(known)}. Nothing was done.",
                remedy="name one of them.",
                code="unknown_word",
            )


def _planned(world: World, request: Request, notes: list[str], *, yes: bool, as_json: bool) -> bool:
    """Show the plan; whether to go on."""
    from media_pipeline.cli.replay_run import estimate, pause_note, print_plan
    from media_pipeline.replays.plan import make_plan, require_sane

    _require_assets(world, request)
    plan = make_plan(request.steps(world, None, request.place))
    batch = world.settings.batch
    require_sane(plan, batch.max_invalid_ratio, batch.min_messages_for_ratio)
    estimated = estimate(world, plan, request.kinds)
    notes += pause_note(world)
    nothing = not plan.run and not plan.counts["invalid"]
    if as_json:
        if not yes or nothing:
            document = {
                "yes": False, "would_run": plan.run, "counts": dict(plan.counts),
                "estimate": estimated, "notes": notes,
            }  # fmt: skip
            print(json.dumps(document))
    else:
        print_plan(plan, estimated, notes)
        if not yes and not nothing:
            print("Nothing was done: this is a plan. --yes does it.")
    return yes and not nothing


def _require_assets(world: World, request: Request) -> None:
    """PermanentError naming the media assets that the ledger does not have."""
    from media_pipeline.domain.replays import CandidateFilter

    named = request.wanted.get("filter", {}).get("assets", [])
    if not named:
        return
    wanted = CandidateFilter(assets=tuple(named))
    page = world.replay_store.candidates(wanted, None, len(set(named)) + 1, None, 0)
    missing = sorted(set(named) - {row.asset_id for row in page.rows})
    if missing:
        raise PermanentError(
            f"{len(missing)} of {len(set(named))} media assets are not in the ledger:"
            f" {', '.join(missing[:50])}. Nothing was done.",
            remedy="correct the ids; what never reached the ledger is replayed from the topic, with"
            " --from-offset or --from-time.",
            code="unknown_assets",
        )
