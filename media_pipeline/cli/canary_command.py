"""`models canary`: a candidate beside the current model on a sample, with a report."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from media_pipeline.errors import SystemicError

if TYPE_CHECKING:
    from media_pipeline.assets.moderation_work import Judge
    from media_pipeline.cli.world import World
    from media_pipeline.models.canary_report import CanaryReport
    from media_pipeline.models.comparison import Side, Summary
    from media_pipeline.models.registry import ModelManifest
    from media_pipeline.settings import Settings

#: Exit code when more changes than `--max-flips` allows; 2 is an error.
TOO_MANY_FLIPS = 3


def register(models: typer.Typer) -> None:
    """Add `canary` to the `models` family."""
    models.command()(canary)


def canary(
    candidate: Annotated[
        str, typer.Argument(help="A model of the registry: name, name:version, name@digest.")
    ],
    sample: Annotated[
        int, typer.Option(min=1, max=100_000, help="Media assets to draw from the ledger.")
    ] = 200,
    seed: Annotated[str, typer.Option(help="The same seed draws the same media assets.")] = "1",
    out: Annotated[
        Path | None, typer.Option(help="Where the report goes; default: canary-<candidate>.")
    ] = None,
    examples: Annotated[
        int, typer.Option(min=0, max=500, help="Worst examples to show, blurred.")
    ] = 24,
    max_flips: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Exit with 3 when more verdicts change (or only the candidate fails) than this.",
        ),
    ] = None,
) -> None:
    """Judge a sample by a candidate and by the current model; write report.html, report.json.

    Nothing is written to the ledger or to derived objects.
    """
    from media_pipeline.cli.world import World  # quick --help
    from media_pipeline.settings import load_settings

    settings = load_settings()
    world = World(settings)
    manifests = chosen(settings, candidate)
    report = compare(settings, world, manifests, sample, seed, examples)
    folder = out or Path(default_folder(manifests["candidate"]))
    write(report, folder)
    _print(Console(), report, folder)
    found = report.summary
    if not found.compared:
        raise SystemicError(
            f"none of {report.sample.drawn} media assets could be judged by both models.",
            remedy=f"see the reasons in {folder / 'report.json'}.",
            code="canary_empty",
        )
    if max_flips is not None and found.regressions > max_flips:
        raise typer.Exit(TOO_MANY_FLIPS)


def chosen(settings: Settings, reference: str) -> dict[Side, ModelManifest]:
    """Current model and candidate; SystemicError where one is missing or both are one."""
    from media_pipeline.cli.model_commands import registry_path
    from media_pipeline.models.registry import load_registry

    registry = load_registry(registry_path(settings))
    if registry.current is None:
        raise SystemicError(
            "there is no current model to compare with.",
            remedy="import one: `media-pipeline models import opennsfw`.",
            code="model_missing",
        )
    candidate = registry.find(reference)
    if candidate == registry.current:
        raise SystemicError(
            f"{candidate.edition} is the current model: there is nothing to compare.",
            remedy="name a candidate of `media-pipeline models list`, or import one.",
            code="canary_same_model",
        )
    return {"current": registry.current, "candidate": candidate}


def compare(
    settings: Settings,
    world: World,
    manifests: dict[Side, ModelManifest],
    size: int,
    seed: str,
    examples: int,
) -> CanaryReport:
    """Draw, judge, sum up."""
    from media_pipeline.assets.moderation_canary import same_frames
    from media_pipeline.assets.moderation_work import KIND, ready_judge
    from media_pipeline.fingerprints import moderation_fingerprint
    from media_pipeline.models.canary_report import CanaryReport, Sample, Subject

    population = world.samples.population(KIND)
    if not population:
        raise SystemicError(
            "the ledger has no media asset with a moderation verdict to draw from.",
            remedy="enrich some first (workload moderation), then run the canary again.",
            code="canary_empty",
        )
    judges: dict[Side, Judge] = {
        side: ready_judge(settings, manifest, world.object_store)
        for side, manifest in manifests.items()
    }
    drawn, summary = judge(settings, world, judges, (size, seed), examples)
    current, candidate = (
        Subject(one.manifest, moderation_fingerprint(settings, one.manifest))
        for one in (judges["current"], judges["candidate"])
    )
    return CanaryReport(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        current=current,
        candidate=candidate,
        sample=Sample(size, drawn, population, seed),
        same_frames=same_frames(settings, judges),
        summary=summary,
    )


def judge(
    settings: Settings,
    world: World,
    judges: dict[Side, Judge],
    wanted: tuple[int, str],
    examples: int,
) -> tuple[int, Summary]:
    """How many were drawn, and what came of them. `wanted`: size and seed of the sample."""
    from media_pipeline.assets.moderation_canary import judged_pairs
    from media_pipeline.assets.moderation_work import KIND, model_directory
    from media_pipeline.assets.worker_pool import build_worker_pool
    from media_pipeline.domain.samples import draw
    from media_pipeline.models.comparison import Comparison

    size, seed = wanted
    comparison, drawn = Comparison(examples), 0
    console = Console(stderr=True)
    with (
        build_worker_pool(settings, [str(model_directory(settings))]) as pool,
        console.status("judging") as status,
    ):
        pages = draw(world.samples, KIND, seed, size)
        for pair in judged_pairs(settings, judges, pages, store=world.object_store, pool=pool):
            comparison.add(pair)
            drawn += 1
            status.update(f"judging: {drawn} of {size}")
    return drawn, comparison.summary()


def write(report: CanaryReport, folder: Path) -> None:
    """report.json and report.html; the folder may be there already."""
    from media_pipeline.models.canary_page import render_page
    from media_pipeline.models.canary_report import document_of

    folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps(document_of(report), indent=2, allow_nan=False)
    (folder / "report.json").write_text(document + "\n")
    (folder / "report.html").write_text(render_page(report))


def default_folder(manifest: ModelManifest) -> str:
    """`canary-<reference>`, without what a file name may not hold."""
    return "canary-" + re.sub(r"[^A-Za-z0-9._@-]", "_", manifest.reference)


def _print(console: Console, report: CanaryReport, folder: Path) -> None:
    found, sample = report.summary, report.sample
    current, candidate = report.current.manifest, report.candidate.manifest
    table = Table(title=f"{found.compared} media assets compared", show_header=False)
    rows = [
        ("current", f"{current.reference} ({current.edition})"),
        ("candidate", f"{candidate.reference} ({candidate.edition})"),
        ("sample", f"{sample.drawn} of {sample.population}, seed {sample.seed}"),
        ("frames", "the same for both" if report.same_frames else "made for each model"),
        ("verdict flips", f"{found.flips}: {found.stricter} stricter, {found.laxer} laxer"),
    ]  # fmt: skip
    rows += [
        (move.replace(">", " to "), str(count))
        for move, count in found.moves.items()
        if len(set(move.split(">"))) > 1
    ]
    for side, codes in found.failed.items():
        rows += [(f"failed by {side} alone: {code}", str(len(ids))) for code, ids in codes.items()]
    rows += [(f"left out: {code}", str(len(ids))) for code, ids in found.left_out.items()]
    for side, spread in found.latency.items():
        if spread.p50 is not None and spread.p95 is not None:
            milliseconds = f"{spread.p50 * 1000:.1f} (95 %: {spread.p95 * 1000:.1f})"
            rows.append((f"ms per image, {side}", milliseconds))
    for name, value in rows:
        table.add_row(name, escape(value))
    console.print(table)
    console.print(f"{folder / 'report.html'}", highlight=False, soft_wrap=True, markup=False)
