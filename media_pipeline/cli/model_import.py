"""`models import-file` and `models variant`: candidates that are not published somewhere."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from media_pipeline.errors import SystemicError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from media_pipeline.domain.ports import ObjectStore
    from media_pipeline.models.registry import ModelManifest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CHANNELS = 3
Thresholds = Annotated[
    list[str],
    typer.Option(
        "--threshold",
        help="LABEL=REVIEW:BLOCK, for example nsfw=0.2:0.8; once for each label that decides.",
    ),
]


def register(models: typer.Typer) -> None:
    """Add both to the `models` family."""
    models.command(name="import-file")(import_file)
    models.command()(variant)


def import_file(  # noqa: PLR0917  # the options of a command
    path: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An ONNX classifier.")],
    name: Annotated[str, typer.Option(help="What it is called in the registry.")],
    labels: Annotated[str, typer.Option(help="Its labels in the order of its scores: sfw,nsfw.")],
    threshold: Thresholds,
    version: Annotated[str, typer.Option(help="Which one of that name.")] = "1",
    resize: Annotated[int, typer.Option(min=1, help="Side that pictures are scaled to.")] = 256,
    crop: Annotated[int, typer.Option(min=1, help="Side that is cut out of the middle.")] = 224,
    mean: Annotated[str, typer.Option(help="Per channel, of 0..255.")] = "0,0,0",
    deviation: Annotated[str, typer.Option(help="Per channel; 255,255,255 for 0..1.")] = "1,1,1",
    channels: Annotated[Literal["rgb", "bgr"], typer.Option(help="Their order.")] = "rgb",
    jpeg: Annotated[
        bool, typer.Option(help="Compress frames as JPEG first, for models that learnt so.")
    ] = False,
    activation: Annotated[
        Literal["none", "softmax", "sigmoid"],
        typer.Option(help="What makes scores of 0..1 out of what the graph gives."),
    ] = "none",
    licence: Annotated[str, typer.Option(help="Whose weights, under which licence.")] = "unknown",
) -> None:
    """Import an ONNX classifier: held against onnxruntime, uploaded, noted in the registry."""
    from media_pipeline.cli.model_commands import registry_path  # quick --help
    from media_pipeline.cli.world import World
    from media_pipeline.models.onnx_import import import_graph
    from media_pipeline.models.registry import ModelManifest
    from media_pipeline.settings import load_settings

    named = tuple(one.strip() for one in labels.split(","))
    if crop > resize:
        raise typer.BadParameter(f"--crop {crop} is more than --resize {resize}")
    settings = load_settings()
    registry = registry_path(settings)
    store = World(settings).object_store
    with tempfile.TemporaryDirectory() as directory:
        manifest = import_graph(
            path,
            Path(directory),
            ModelManifest(
                name=_plain(name, "--name"), version=_plain(version, "--version"), object_key="",
                sha256="", size_bytes=0, labels=named, mean=_numbers(mean, "--mean"),
                resize=resize, crop=crop, jpeg_round_trip=jpeg,
                thresholds=thresholds_of(threshold, named), channels=channels,
                deviation=_numbers(deviation, "--deviation"),
                source={"file": path.name, "weights": licence, "activation": activation},
            ),
        )  # fmt: skip
        _require_new(manifest, registry)
        data = (Path(directory) / f"{manifest.sha256}.pt").read_bytes()
        store.put(manifest.object_key, data, "application/octet-stream")
    print(note(manifest, store, registry))


def variant(
    reference: Annotated[str, typer.Argument(help="A model of the registry.")],
    version: Annotated[str, typer.Option(help="What tells it from the others of its name.")],
    threshold: Thresholds,
) -> None:
    """Make a candidate of the same file with other thresholds."""
    from dataclasses import replace

    from media_pipeline.cli.model_commands import registry_path  # quick --help
    from media_pipeline.cli.world import World
    from media_pipeline.models.registry import load_registry
    from media_pipeline.settings import load_settings

    settings = load_settings()
    path = registry_path(settings)
    known = load_registry(path).find(reference)
    manifest = replace(
        known,
        version=_plain(version, "--version"),
        thresholds=thresholds_of(threshold, known.labels),
    )
    _require_new(manifest, path)
    print(note(manifest, World(settings).object_store, path))


def note(manifest: ModelManifest, store: ObjectStore, path: Path) -> str:
    """Keep the manifest beside its file, add it to the registry; answers what it is now."""
    from media_pipeline.models.registry import load_registry, save_registry

    key = manifest.object_key.removesuffix(".pt") + f"-{manifest.version}.json"
    store.put(key, json.dumps(asdict(manifest), indent=2).encode(), "application/json")
    registry = load_registry(path).with_candidate(manifest)
    save_registry(path, registry)
    state = "current" if registry.current == manifest else "a candidate"
    return f"{manifest.reference} ({manifest.edition}) is {state}"


def thresholds_of(given: Sequence[str], labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """`LABEL=REVIEW:BLOCK` each; BadParameter for a label or numbers that make no sense."""
    found = {}
    for text in given:
        label, _, numbers = text.partition("=")
        review, block = _floats(numbers.replace(":", ","), 2, f"--threshold {text}")
        if label not in labels:
            raise typer.BadParameter(f"{label!r} is none of the labels: {', '.join(labels)}")
        if not 0 <= review <= block <= 1:
            raise typer.BadParameter(f"--threshold {text}: it takes 0 <= review <= block <= 1")
        found[label] = {"review": review, "block": block}
    return found


def _require_new(manifest: ModelManifest, path: Path) -> None:
    """Names are how people tell models apart: one that is taken is not taken again."""
    from media_pipeline.models.registry import load_registry

    known = load_registry(path).known
    if any(one.edition == manifest.edition and one != manifest for one in known):
        raise SystemicError(
            f"the registry has another {manifest.edition} already.",
            remedy="give it another --version or --name.",
            code="model_ambiguous",
        )


def _plain(text: str, option: str) -> str:
    if not _NAME.fullmatch(text):
        raise typer.BadParameter(f"{option} takes letters, digits, dot, dash and underscore")
    return text


def _numbers(text: str, option: str) -> tuple[float, ...]:
    return _floats(text, _CHANNELS, option)


def _floats(text: str, count: int, what: str) -> tuple[float, ...]:
    try:
        found = tuple(float(one) for one in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{what}: {text!r} holds something that is no number") from error
    if len(found) != count:
        raise typer.BadParameter(f"{what}: {count} numbers are needed, not {len(found)}")
    return found
