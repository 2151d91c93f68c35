"""`verify`: a sample of each type through the deployed system, to be run after a release."""

from __future__ import annotations

import json
import random
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from media_pipeline.cli.producer import Upload
    from media_pipeline.cli.world import World
    from media_pipeline.health.findings import Finding
    from media_pipeline.health.verification import Sample, Verification

#: Every recipe of the samples once.
_RECIPES = 19


def register(app: typer.Typer) -> None:
    """Add `verify` to the command line."""
    app.command()(verify)


def verify(
    timeout: Annotated[float, typer.Option(help="Seconds until everything must have ended.")] = 300,
    only: Annotated[
        list[str] | None, typer.Option(help="Only these types (report, scan, photo, ...).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Announce a made-up file of each type, then look for its objects, rows, event and counters.

    Exits with 0 when every promise was kept, 1 otherwise: fit for a GitOps post-sync hook. Files
    that must fail are left out, so that no dead letter stays behind.
    """
    from media_pipeline.cli.producer import announce  # quick --help
    from media_pipeline.cli.world import World
    from media_pipeline.health.findings import worst
    from media_pipeline.settings import load_settings

    world = World(load_settings())
    verification = verification_of(world)
    before = verification.before()
    started = time.monotonic()
    uploads, samples = prepared(world, only or [])
    announce(world, uploads)
    findings = verification.after(samples, before, timeout)
    level, seconds = worst(findings), time.monotonic() - started
    if as_json:
        rows = [asdict(one) for one in findings]
        print(json.dumps({"level": level, "seconds": round(seconds, 1), "findings": rows}))
    else:
        _show(findings, len(samples), seconds)
    raise typer.Exit(0 if level == "ok" else 1)


def verification_of(world: World) -> Verification:
    """The questions, through the adapters of the command line."""
    from media_pipeline.health.verification import Verification

    return Verification(
        ledger=world.dead_letter_store,
        operations=world.operations,
        object_store=world.object_store,
        event_source=world.event_source,
        enriched_topic=world.settings.kafka.enriched_topic,
        workloads=world.settings.workloads,
    )


def prepared(world: World, only: list[str]) -> tuple[list[Upload], list[Sample]]:
    """Files uploaded, not announced, under ids that nobody used before."""
    from media_pipeline.cli.producer import upload
    from media_pipeline.health.verification import Sample
    from media_pipeline.local_stack.sample_media import generate

    seed = random.SystemRandom().randrange(1, 2**31)
    made = {
        one.asset_id.rsplit("-", 1)[1]: one
        for one in generate(_RECIPES, seed)
        if one.expected != "dead_lettered"
    }
    unknown = sorted(set(only) - set(made))
    if unknown:
        known = ", ".join(sorted(made))
        raise typer.BadParameter(f"no type {', '.join(unknown)}; there are {known}")
    uploads, samples = [], []
    for name, one in sorted(made.items()):
        if only and name not in only:
            continue
        done = upload(world, f"verify-{seed}-{name}", one.filename, one.data, one.content_type)
        asset = done.asset
        uploads.append(done)
        samples.append(Sample(name, asset.asset_id, asset.content_version, one.expected))
    return uploads, samples


def _show(findings: list[Finding], samples: int, seconds: float) -> None:
    wrong = [one for one in findings if one.level != "ok"]
    kept = len(findings) - len(wrong)
    if wrong:
        table = Table(title=f"{len(wrong)} promises were not kept", title_justify="left")
        for column in ("what", "of", "found", "expected", "what to do"):
            table.add_column(column, overflow="fold")
        for one in wrong:
            cells = (one.check, one.subject, one.figure, one.expected, one.remedy)
            table.add_row(*map(escape, cells))
        Console().print(table)
    print(f"{samples} media assets, {kept} of {len(findings)} promises kept, {seconds:.1f} s")
