"""`check daily`: the runbook's daily checks as one command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from media_pipeline.cli.world import World
    from media_pipeline.health.daily import DailyReport, DailySources

_COLOURS = {"ok": "green", "unknown": "blue", "warn": "yellow", "fail": "red"}

check_app = typer.Typer(help="Is everything as usual?", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add `check` to the command line."""
    app.add_typer(check_app, name="check")


@check_app.callback()
def check() -> None:
    """Is everything as usual?"""


@check_app.command()
def daily(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with plots there, in one file.")
    ] = None,
    max_lag: Annotated[
        int | None, typer.Option(help="Threshold of consumer lag per Kafka partition.")
    ] = None,
) -> None:
    """Lag, counts, dead letters, GPUs, dependencies, against what is usual.

    Exits with 0 when nothing is wrong (unusual figures included), 1 when something is.
    """
    from media_pipeline.cli.world import World  # quick --help
    from media_pipeline.health.daily import daily_report
    from media_pipeline.settings import load_settings

    settings = load_settings()
    if max_lag is not None:
        limits = settings.daily.model_copy(update={"max_lag": max_lag})
        settings = settings.model_copy(update={"daily": limits})
    report = daily_report(sources_of(World(settings)), settings)
    if html:
        from media_pipeline.reports.daily_page import daily_page

        html.write_text(daily_page(report, max_lag=settings.daily.max_lag), encoding="utf-8")
    if as_json:
        print(json.dumps(report.as_json()))
    else:
        show(report, Console())
        if html:
            print(f"page: {html}")
    raise typer.Exit(1 if report.level == "fail" else 0)


def sources_of(world: World) -> DailySources:
    """Everybody, through the adapters of the command line."""
    from media_pipeline.cli.dagster_api import DagsterApi
    from media_pipeline.health.daily import DailySources
    from resources.devices import read_devices
    from sensors.cursor import MEDIA_EVENTS_SENSOR, SensorCursor

    dagster = DagsterApi(world.settings.dagster_url)

    def positions() -> Mapping[int, int]:
        cursor = SensorCursor.loads(dagster.sensor_cursor(MEDIA_EVENTS_SENSOR))
        return cursor.of(world.settings.kafka.ingested_topic)

    return DailySources(
        event_source=world.event_source,
        metadata_store=world.metadata_store,
        object_store=world.object_store,
        operations=world.operations,
        dead_letters=world.dead_letter_store,
        positions=positions,
        devices=read_devices,
        dagster=lambda: dagster.query("{version}"),
    )


def show(report: DailyReport, console: Console) -> None:
    """A table, what is wrong first."""
    table = Table(title=f"daily checks: {report.level}", title_justify="left")
    for column in ("", "check", "of", "found", "usual", "what to do"):
        table.add_column(column, overflow="fold")
    order = list(_COLOURS)
    for one in sorted(report.findings, key=lambda one: -order.index(one.level)):
        colour = _COLOURS[one.level]
        remedy = one.remedy if one.level != "ok" else ""
        cells = (one.check, one.subject, one.figure, one.expected, remedy)
        table.add_row(f"[{colour}]{one.level}[/{colour}]", *map(escape, cells))
    console.print(table)
