"""`ingest`, `show`, `dead-letters`: put one file through by hand and see how it ended."""

from __future__ import annotations

import mimetypes
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from media_pipeline.domain.media_asset import ASSET_ID_PATTERN
from media_pipeline.errors import PermanentError

if TYPE_CHECKING:
    from media_pipeline.cli.producer import Upload
    from media_pipeline.cli.world import World

WAIT_SECONDS = 180


def register(app: typer.Typer) -> None:
    """Add `ingest`, `show` and `dead-letters` to the command line."""
    app.command()(ingest)
    app.command()(show)
    app.command(name="dead-letters")(dead_letters)


def ingest(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, readable=True)],
    asset_id: Annotated[
        str | None, typer.Option(help="Media asset id; default: from the file name.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until each has ended and its event is published.")
    ] = False,
) -> None:
    """Upload files to the media bucket and announce each on media.ingested.v1."""
    from media_pipeline.cli.producer import announce, upload  # quick --help
    from media_pipeline.cli.world import World
    from media_pipeline.settings import load_settings

    if asset_id and len(files) > 1:
        raise typer.BadParameter("--asset-id goes with one file")
    world = World(load_settings())
    uploads = []
    for file in files:
        content_type, _ = mimetypes.guess_type(file.name)
        name = asset_id or asset_id_of(file)
        uploads.append(upload(world, name, file.name, file.read_bytes(), content_type))
    announce(world, uploads)
    if wait:
        _wait_for(world, uploads)
    for one in uploads:
        print(one.asset.asset_id)


def _wait_for(world: World, uploads: list[Upload]) -> None:
    """Until the ledger has an outcome of every upload and the outbox is empty."""
    from media_pipeline.errors import TransientError

    wanted = {(one.asset.asset_id, one.asset.content_version) for one in uploads}
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        rows = world.metadata_store.derivatives([asset_id for asset_id, _ in wanted])
        ended = {(row.asset_id, row.content_version) for row in rows}
        if wanted <= ended and not world.metadata_store.counts().unpublished:
            return
        if time.monotonic() > deadline:
            raise TransientError(
                f"{len(wanted - ended)} of {len(wanted)} have not ended after {WAIT_SECONDS} s.",
                remedy="is Dagster running? `media-pipeline status` says so.",
                code="not_ended",
            )
        time.sleep(0.3)


def asset_id_of(file: Path) -> str:
    """A media asset id from a file name: other characters become `-`."""
    name = re.sub(r"[^A-Za-z0-9._~-]", "-", file.name)[:128]
    if not ASSET_ID_PATTERN.fullmatch(name):
        raise PermanentError(
            f"no media asset id can be made from {file.name!r}.",
            remedy="give one with --asset-id (letters, digits and . _ ~ -, at most 128).",
            code="bad_asset_id",
        )
    return name


def show(asset_id: str) -> None:
    """Print what the ledger knows of a media asset; exit code 1 when it knows nothing."""
    from media_pipeline.cli.world import World  # quick --help
    from media_pipeline.settings import load_settings

    world = World(load_settings())
    rows = world.metadata_store.derivatives([asset_id])
    if not rows:
        print(f"{asset_id}: not in the ledger, or not processed yet")
        raise typer.Exit(1)
    table = Table(title=f"{asset_id} {rows[0].content_version}")
    for column in ("kind", "outcome", "seconds", "objects", "reason"):
        table.add_column(column)
    for row in rows:
        links = "\n".join(world.object_store.link(part.object_key) for part in row.artifacts)
        table.add_row(row.kind, str(row.code), f"{row.seconds:.3f}", links, row.message)
    Console().print(table)


def dead_letters(
    limit: Annotated[int, typer.Option(help="At most this many, oldest first.")] = 100,
) -> None:
    """Print the dead letters in media.processing.dlq with their reasons."""
    from media_pipeline.cli.world import World  # quick --help
    from media_pipeline.settings import load_settings

    world = World(load_settings())
    topic = world.settings.kafka.dead_letter_topic
    poll = world.event_source.poll(topic, {}, max_records=limit, deadline_seconds=10)
    table = Table(title=f"{len(poll.records)} dead letters in {topic}")
    for column in ("offset", "media asset", "stage", "code", "message"):
        table.add_column(column)
    for record in poll.records:
        headers = {name: value.decode(errors="replace") for name, value in record.headers}
        columns = ("asset_id", "error.stage", "error.code", "error.message")
        table.add_row(str(record.offset), *(headers.get(name, "") for name in columns))
    Console().print(table)
