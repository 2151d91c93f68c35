"""`stale`: what a changed processor, setting or model touches, what it costs, and doing it."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from media_pipeline.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from media_pipeline.cli.backfill_launcher import BackfillLauncher
    from media_pipeline.domain.ports import MetadataStore, StaleDerivative

_PAGE = 1000


@dataclass
class StaleKind:
    """What is stale of one kind. `seconds`: as recorded, or the mean where it is missing."""

    kind: str
    expected: str
    assets: int = 0
    missing: int = 0
    seconds: float = 0.0
    found: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def register(app: typer.Typer) -> None:
    """Add `stale` to the command line."""
    app.command()(stale)


def stale(
    kind: Annotated[
        list[str] | None, typer.Option(help="Only these workloads; default: all that are on.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Launch Dagster backfills of exactly these.")
    ] = False,
) -> None:
    """List which kinds of which media assets were made by another version, and their cost."""
    from media_pipeline.cli.backfill_launcher import BackfillLauncher  # quick --help
    from media_pipeline.cli.dagster_api import DagsterApi
    from media_pipeline.cli.world import World
    from media_pipeline.fingerprints import expected_fingerprints
    from media_pipeline.settings import load_settings

    settings = load_settings()
    expected = expected_fingerprints(settings)
    for name in kind or ():
        if name not in expected:
            raise PermanentError(
                f"no workload {name!r} is switched on; there are: {', '.join(expected)}.",
                remedy="name one of them with --kind.",
                code="unknown_workload",
            )
    wanted = {name: expected[name] for name in kind or expected}
    ledger = World(settings).metadata_store
    kinds, groups = summarise(pages(ledger, wanted), wanted, ledger.mean_seconds())
    launched = []
    if backfill:
        backfills = BackfillLauncher(DagsterApi(settings.dagster_url), settings)
        launched = launch(backfills, groups, settings.workloads)
    if as_json:
        rows = [{**vars(one), "found": dict(one.found)} for one in kinds]
        print(json.dumps({"kinds": rows, "backfills": launched}))
        return
    _print(Console(), kinds, sum(map(len, groups.values())))
    for identity in launched:
        print(f"backfill {identity}: {settings.dagster_url}/runs/b/{identity}")


def pages(ledger: MetadataStore, expected: Mapping[str, str]) -> Iterator[StaleDerivative]:
    """All stale derivatives, page by page: memory does not grow with the ledger."""
    after = None
    while True:
        rows = ledger.stale(expected, after, _PAGE)
        yield from rows
        if not rows:
            return
        after = rows[-1].asset_id


def summarise(
    rows: Iterable[StaleDerivative], expected: Mapping[str, str], mean_seconds: Mapping[str, float]
) -> tuple[list[StaleKind], dict[tuple[str, ...], list[str]]]:
    """One line per kind, and the media assets by which of their kinds are stale."""
    kinds = {kind: StaleKind(kind, expected[kind]) for kind in expected}
    by_asset: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        one = kinds[row.kind]
        one.assets += 1
        one.missing += row.fingerprint is None
        one.found[row.fingerprint or "missing"] += 1
        mean = mean_seconds.get(row.kind, 0.0)
        one.seconds += mean if row.seconds is None else row.seconds
        by_asset[row.asset_id].append(row.kind)
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for asset_id, touched in by_asset.items():
        groups[tuple(kind for kind in expected if kind in touched)].append(asset_id)
    return [one for one in kinds.values() if one.assets], dict(groups)


def launch(
    backfills: BackfillLauncher,
    groups: Mapping[tuple[str, ...], list[str]],
    workloads: Iterable[str],
) -> list[str]:
    """Backfills of each set of kinds, of exactly its media assets; answers their ids.

    `enrichment` goes with each, because it writes the ledger and tells of the change.
    """
    order = list(workloads)
    launched = []
    for kinds, asset_ids in groups.items():
        selected = [*sorted(kinds, key=order.index), "enrichment"]
        launched += backfills.launch(selected, asset_ids, f"stale {', '.join(kinds)}")
    return launched


def _print(console: Console, kinds: list[StaleKind], assets: int) -> None:
    if not kinds:
        console.print("nothing is stale")
        return
    table = Table(title=f"{assets} media assets are touched")
    for column in ("kind", "media assets", "of them missing", "CPU seconds", "made by", "now"):
        table.add_column(column, overflow="fold")
    for one in kinds:
        made_by = "\n".join(f"{name} ({count})" for name, count in sorted(one.found.items()))
        table.add_row(
            one.kind, str(one.assets), str(one.missing), f"{one.seconds:.1f}", made_by,
            one.expected,
        )  # fmt: skip
    console.print(table)
