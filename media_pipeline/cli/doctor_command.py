"""`doctor`: looks at every dependency and says what is wrong and what to do."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}


def register(app: typer.Typer) -> None:
    """Add `doctor` to the command line."""
    app.command()(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Check Vault, identity, buckets, ledger, topics and Dagster's storage; exit code 1: failed.

    Harmless: reads, and puts, gets and deletes one object below probe/.
    """
    from media_pipeline.settings import load_settings, unknown_variables  # quick --help
    from resources.doctor import diagnose

    findings = list(diagnose(load_settings(), unknown=unknown_variables()))
    if as_json:
        print(json.dumps([asdict(one) for one in findings], indent=1))
    else:
        table = Table(show_lines=False)
        for column in ("check", "state", "what was found", "remedy"):
            table.add_column(column, overflow="fold")
        for one in findings:
            state = f"[{_COLOURS[one.state]}]{one.state}[/]"
            table.add_row(one.check, state, _escaped(one.detail), _escaped(one.remedy))
        Console().print(table)
    if any(one.state == "failed" for one in findings):
        raise typer.Exit(1)


def _escaped(text: str) -> str:
    from rich.markup import escape  # messages may quote what strangers wrote

    return escape(text)
