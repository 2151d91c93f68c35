"""`report`: everything about one media asset as one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from media_pipeline.cli.world import World
    from media_pipeline.reports.gallery import Gallery


def register(app: typer.Typer) -> None:
    """Add `report` to the command line."""
    app.command()(report)


def report(
    asset_id: Annotated[str, typer.Argument(help="Media asset id.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File; default: <asset id>.html here.")
    ] = None,
    show_pictures: Annotated[
        bool, typer.Option("--show-pictures", help="Also those that moderation did not allow.")
    ] = False,
) -> None:
    """Write a page about a media asset: source, pictures, text, verdict, provenance, history.

    Exits with 1 when the ledger does not know it.
    """
    from media_pipeline.cli.world import World  # quick --help
    from media_pipeline.settings import load_settings

    document = gallery_of(World(load_settings())).page(asset_id, show_pictures=show_pictures)
    if document is None:
        print(f"{asset_id}: not in the ledger")
        raise typer.Exit(1)
    file = output or Path(f"{asset_id}.html")
    file.write_text(document, encoding="utf-8")
    print(file)


def gallery_of(world: World) -> Gallery:
    """The pages, through the adapters of the command line."""
    from media_pipeline.reports.gallery import Gallery

    return Gallery(
        world.metadata_store, world.operations, world.object_store, world.settings.dagster_url
    )
