"""`models`: which model moderates, and how another one takes its place."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from media_pipeline.cli import canary_command, model_import
from media_pipeline.errors import SystemicError

if TYPE_CHECKING:
    from media_pipeline.domain.ports import ObjectStore
    from media_pipeline.models.registry import ModelManifest, Registry
    from media_pipeline.settings import Settings

models = typer.Typer(help="Moderation models: import, compare, promote, roll back.")


def register(app: typer.Typer) -> None:
    """Add the `models` family to the command line."""
    model_import.register(models)
    canary_command.register(models)
    app.add_typer(models, name="models")


@models.command(name="import")
def import_(
    name: Annotated[str, typer.Argument(help="A published model: opennsfw.")],
) -> None:
    """Make artifact and manifest of a published model, upload both, note it in the registry."""
    from media_pipeline.cli.world import World  # quick --help
    from media_pipeline.models.registry import load_registry
    from media_pipeline.settings import load_settings

    if name != "opennsfw":
        raise typer.BadParameter(f"no importer for {name!r}; there is: opennsfw")
    settings = load_settings()
    path = registry_path(settings)
    manifest = import_opennsfw_into(World(settings).object_store, path)
    current = load_registry(path).current
    print(f"{manifest.reference} {'is current' if manifest == current else 'is a candidate'}")


@models.command(name="list")
def list_() -> None:
    """Print the registry: the model in use, candidates, and those used before."""
    from media_pipeline.settings import load_settings

    registry = _load(load_settings())
    table = Table()
    for column in ("state", "model", "version", "labels", "thresholds", "source"):
        table.add_column(column, overflow="fold", no_wrap=column in ("state", "model"))
    rows = [("current", registry.current)] if registry.current else []
    rows += [("candidate", one) for one in registry.candidates]
    rows += [("previous", one) for one in registry.previous]
    for state, one in rows:
        table.add_row(
            state, one.reference, one.version, ", ".join(one.labels),
            json.dumps(one.thresholds), one.source.get("weights", ""),
        )  # fmt: skip
    Console().print(table if rows else "no models: `media-pipeline models import opennsfw`")


@models.command()
def promote(
    reference: Annotated[str, typer.Argument(help="name, name@digest or sha256")],
) -> None:
    """Make a model the one in use; only moderation becomes stale."""
    from media_pipeline.models.registry import save_registry
    from media_pipeline.settings import load_settings

    settings = load_settings()
    changed = _load(settings).promoted(reference)
    save_registry(registry_path(settings), changed)
    _tell(settings, changed)


@models.command()
def rollback() -> None:
    """Go back to the model used before."""
    from media_pipeline.models.registry import save_registry
    from media_pipeline.settings import load_settings

    settings = load_settings()
    changed = _load(settings).rolled_back()
    save_registry(registry_path(settings), changed)
    _tell(settings, changed)


def registry_path(settings: Settings) -> Path:
    """The registry file; SystemicError when none is configured."""
    if not settings.moderation.registry_file:
        raise SystemicError(
            "no model registry is configured.",
            remedy="set MEDIA_PIPELINE_MODERATION__REGISTRY_FILE to a file in version control.",
            code="registry_unset",
        )
    return Path(settings.moderation.registry_file)


def import_opennsfw_into(store: ObjectStore, path: Path) -> ModelManifest:
    """Upload open_nsfw's artifact and manifest, and note it in the registry file."""
    from media_pipeline.models.onnx_import import import_opennsfw  # torch, onnx

    with tempfile.TemporaryDirectory() as directory:
        file, manifest = import_opennsfw(Path(directory))
        store.put(manifest.object_key, file.read_bytes(), "application/octet-stream")
    model_import.note(manifest, store, path)
    return manifest


def _load(settings: Settings) -> Registry:
    from media_pipeline.models.registry import load_registry

    return load_registry(registry_path(settings))


def _tell(settings: Settings, registry: Registry) -> None:
    """What is current now, and that Dagster knows it: it reads the registry when it loads."""
    from media_pipeline.cli.dagster_api import DagsterApi

    print(f"current: {registry.current.reference if registry.current else 'none'}")
    try:
        DagsterApi(settings.dagster_url).reload_code()
    except SystemicError:
        print(
            "Dagster was not reached: runs use it once the code location is reloaded. Where the"
            " registry file is kept in version control, commit it there."
        )
    else:
        print("Dagster has reloaded its code. `media-pipeline stale --kind moderation` shows")
        print("what was judged by another model; with --backfill it is judged again.")
