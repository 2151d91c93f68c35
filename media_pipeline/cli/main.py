"""Entry point: collects the commands of this package."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from media_pipeline import __version__
from media_pipeline.cli import (
    check_command,
    control_commands,
    demo,
    dlq_commands,
    doctor_command,
    exporter_command,
    identity_keys_command,
    media_commands,
    migrate_command,
    model_commands,
    reconcile_command,
    relay_command,
    replay_command,
    report_command,
    stack_commands,
    stale_command,
    verify_command,
)
from media_pipeline.errors import MediaPipelineError

app = typer.Typer(
    name="media-pipeline",
    help="Enrich uploaded media: text, thumbnails, OCR and moderation, from Kafka through Dagster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


for family in (
    stack_commands, demo, media_commands, model_commands, stale_command, dlq_commands,
    replay_command, migrate_command, relay_command, exporter_command, control_commands,
    doctor_command, identity_keys_command, check_command, verify_command, report_command,
    reconcile_command,
):  # fmt: skip
    family.register(app)


def main() -> None:
    """Run; an expected error prints one line with its remedy and exits with 2."""
    try:
        app()
    except MediaPipelineError as error:
        # Escaped: the code stands in brackets, and messages may quote what strangers wrote.
        said = f"[red]error[/red] {escape(str(error))}"
        Console(stderr=True).print(said, highlight=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
