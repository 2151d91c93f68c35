"""A walk over an ONNX graph: the few operations that plain convolutional classifiers use.

A ready-made converter would bring torchvision and with it a CUDA build of torch. What an
operation means is taken over where it is one of ours; attributes that nothing here knows show
when the scores are held against onnxruntime's, see `onnx_import.verify`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from media_pipeline.errors import SystemicError
from media_pipeline.processing.graph_model import INPUT, Node

_PICTURE_DIMENSIONS = 4
_COLOURS = 3
_Made = tuple[str, dict[str, Any]]
_Translator = Callable[[Any, Mapping[str, Any], Any, dict[str, Any]], _Made | None]


class PictureInput(NamedTuple):
    """The input of a graph. `channels_first`: batch x 3 x height x width, not channels last."""

    name: str
    channels_first: bool


def picture_input(graph: Any) -> PictureInput:
    """The one input that is no weight; ValueError where it is no batch of pictures."""
    weights = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ValueError(f"{len(inputs)} inputs and {len(graph.output)} outputs")
    sizes = [one.dim_value for one in inputs[0].type.tensor_type.shape.dim]
    if len(sizes) != _PICTURE_DIMENSIONS or _COLOURS not in (sizes[1], sizes[3]):
        raise ValueError(f"its input is {sizes}, no batch of pictures of three channels")
    return PictureInput(inputs[0].name, channels_first=sizes[1] == _COLOURS)


def read_graph(path: Path) -> tuple[list[Node], str, dict[str, Any]]:
    """Nodes, name of the output and weights; SystemicError for operations not known here,
    OSError, ValueError or LookupError for what is no such graph."""
    import onnx
    import torch
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        graph = onnx.load(str(path)).graph
    except DecodeError as error:
        raise ValueError(f"not an ONNX file: {error}") from error
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    weights: dict[str, Any] = {}
    nodes: list[Node] = []
    names = {picture_input(graph).name: INPUT}

    def keep(name: str, *, turned: bool = False) -> str:
        tensor = torch.from_numpy(constants[name].copy())
        weights[name] = tensor.t().contiguous() if turned else tensor
        return name

    for node in graph.node:
        more = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(more["value"])
            continue
        if node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
            continue
        inputs = [names.get(name, name) for name in node.input if name not in constants]
        translate = _TRANSLATORS.get(node.op_type)
        if translate is None:
            raise _unknown(node.op_type)
        made = translate(node, more, keep, constants)
        if made is None:  # says nothing that the next node does not know
            names[node.output[0]] = inputs[0]
            continue
        kind, attributes = made
        if kind == "bias":  # an addition to the matrix product before it
            nodes.append(_with_bias(nodes.pop(), inputs, node.output[0], attributes))
            continue
        nodes.append((kind, inputs[:2], node.output[0], attributes))
    return nodes, names.get(graph.output[0].name, graph.output[0].name), weights


def _with_bias(product: Node, inputs: Any, output: str, attributes: dict[str, Any]) -> Node:
    kind, given, made, more = product
    if kind != "linear" or "bias" in more or inputs != [made]:
        raise _unknown("Add of a constant to anything but a matrix product")
    return (kind, given, output, {**more, **attributes})


def _convolution(node: Any, more: Mapping[str, Any], keep: Any, _: Any) -> _Made:
    """What is as usual is left out, so that a file made earlier has the same digest."""
    found: dict[str, Any] = {"weight": keep(node.input[1])}
    if len(node.input) > 2:  # noqa: PLR2004  # picture, weight, bias
        found["bias"] = keep(node.input[2])
    found["strides"] = list(more.get("strides", (1, 1)))
    found["pads"] = list(more.get("pads", (0, 0, 0, 0)))
    if more.get("group", 1) != 1:
        found["groups"] = int(more["group"])
    if any(one != 1 for one in more.get("dilations", ())):
        found["dilations"] = list(more["dilations"])
    return "conv", found


def _affine(node: Any, more: Mapping[str, Any], keep: Any, constants: Any) -> _Made:
    """(x - mean) / sqrt(variance + epsilon) * scale + shift, as one factor and one addend."""
    scale, shift, mean, variance = (constants[name] for name in node.input[1:5])
    factor = scale / (variance + more.get("epsilon", 1e-5)) ** 0.5
    found: dict[str, Any] = {}
    for name, value in (("weight", factor), ("bias", shift - mean * factor)):
        made = f"{node.output[0]}/{name}"
        constants[made] = value.reshape(1, -1, 1, 1).astype("float32")
        found[name] = keep(made)
    return "affine", found


def _unknown(kind: str) -> SystemicError:
    return SystemicError(
        f"the operation {kind} of the ONNX graph is not known here.",
        remedy="extend media_pipeline/models/onnx_graph.py, or export the model without it.",
        code="model_unknown",
    )


def _window(more: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kernel": list(more["kernel_shape"]),
        "strides": list(more.get("strides", (1, 1))),
    }


def _max_pool(_: Any, more: Mapping[str, Any], __: Any, ___: Any) -> _Made:
    return "max_pool", {**_window(more), "pads": list(more.get("pads", (0, 0, 0, 0)))}


def _average_pool(_: Any, more: Mapping[str, Any], __: Any, ___: Any) -> _Made:
    return "average_pool", _window(more)


def _add(node: Any, _: Any, keep: Any, constants: Mapping[str, Any]) -> _Made:
    fixed = [name for name in node.input if name in constants]
    return ("bias", {"bias": keep(fixed[0])}) if fixed else ("add", {})


def _product(node: Any, _: Any, keep: Any, __: Any) -> _Made:
    return "linear", {"weight": keep(node.input[1], turned=True)}


def _gemm(node: Any, more: Mapping[str, Any], keep: Any, _: Any) -> _Made:
    if more.get("transA") or more.get("alpha", 1) != 1 or more.get("beta", 1) != 1:
        raise _unknown("Gemm with factors")
    found = {"weight": keep(node.input[1], turned=not more.get("transB"))}
    if node.input[2:]:
        found["bias"] = keep(node.input[2])
    return "linear", found


def _clip(node: Any, more: Mapping[str, Any], _: Any, constants: Mapping[str, Any]) -> _Made:
    given = [float(constants[name]) if name else None for name in node.input[1:]]
    low, high = [*given, None, None][:2]
    return "clip", {"low": more.get("min", low), "high": more.get("max", high)}


def _nothing(*_: Any) -> None:
    """Pictures come as batch x 3 x height x width already, and nothing is learnt here."""


def _plain(kind: str) -> _Translator:
    return lambda *_: (kind, {})


_TRANSLATORS: Mapping[str, _Translator] = {
    "Conv": _convolution,
    "BatchNormalization": _affine,
    "Add": _add,
    "MatMul": _product,
    "Gemm": _gemm,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Transpose": _nothing,
    "Identity": _nothing,
    "Dropout": _nothing,
    "Relu": _plain("relu"),
    "GlobalAveragePool": _plain("global_average_pool"),
    "Reshape": _plain("flatten"),
    "Flatten": _plain("flatten"),
    "Softmax": _plain("softmax"),
    "Sigmoid": _plain("sigmoid"),
}
