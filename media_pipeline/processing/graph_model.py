"""Models as data: layers and weights in one file that is loaded without running any of it.

The file is `torch.save` of
    {"format": 1, "nodes": [[operation, [inputs], output, {attributes}], ...],
     "output": name, "weights": {name: tensor}}
and is read with `weights_only=True`, so a manipulated one can name no code. The input is
called `input`: float32, batch x 3 x height x width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

FORMAT = 1
INPUT = "input"
OPERATIONS = frozenset(
    {
        "conv",
        "relu",
        "clip",
        "add",
        "affine",
        "max_pool",
        "average_pool",
        "global_average_pool",
        "flatten",
        "linear",
        "softmax",
        "sigmoid",
    }
)
Node = tuple[str, list[str], str, dict[str, Any]]


class ModelFileError(Exception):
    """The file is not the one that was meant, or not one of ours."""


class GraphModel(nn.Module):
    """Runs the nodes in order; values are forgotten after their last use."""

    def __init__(
        self, nodes: Sequence[Node], output: str, weights: Mapping[str, torch.Tensor]
    ) -> None:
        super().__init__()
        self._nodes = [(kind, list(inputs), out, dict(more)) for kind, inputs, out, more in nodes]
        self._output = output
        unknown = {kind for kind, *_ in self._nodes} - OPERATIONS
        if unknown:
            raise ModelFileError(f"operations that nothing here runs: {sorted(unknown)}")
        self._names = {name: f"weight_{index}" for index, name in enumerate(weights)}
        for name, tensor in weights.items():
            self.register_buffer(self._names[name], tensor)
        self._last_use: dict[str, int] = {}
        for index, (_, inputs, _, _) in enumerate(self._nodes):
            self._last_use.update(dict.fromkeys(inputs, index))

        fresh = {out for kind, _, out, _ in self._nodes if kind in ("conv", "add", "relu")}
        fresh -= {inputs[0] for kind, inputs, _, _ in self._nodes if kind == "flatten"}  # a view
        # Values that nobody reads again may be overwritten: half the traffic of a step.
        self._in_place = {
            index
            for index, (kind, inputs, _, _) in enumerate(self._nodes)
            if kind in ("relu", "add")
            and inputs[0] in fresh
            and inputs.count(inputs[0]) == 1
            and self._last_use[inputs[0]] == index
            and inputs[0] != output
        }

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Scores: batch x labels, float32."""
        values = {INPUT: pictures}
        for index, (kind, inputs, output, more) in enumerate(self._nodes):
            given = [values[name] for name in inputs]
            for name in inputs:
                if self._last_use[name] == index and name != INPUT:
                    values.pop(name, None)
            values[output] = self._run_node(kind, given, more, index in self._in_place)
        return values[self._output]

    def _weight(self, name: str) -> torch.Tensor:
        found: torch.Tensor = getattr(self, self._names[name])
        return found

    def _bias(self, more: Mapping[str, Any]) -> torch.Tensor | None:
        return self._weight(more["bias"]) if more.get("bias") else None

    def _run_node(
        self, kind: str, given: list[torch.Tensor], more: dict[str, Any], in_place: bool
    ) -> torch.Tensor:
        value = given[0]
        if kind in ("conv", "linear", "affine"):
            return self._weighted(kind, value, more)
        if kind == "relu":
            return functional.relu(value, inplace=in_place)
        if kind == "add":
            same = value.shape == given[1].shape
            return value.add_(given[1]) if in_place and same else value + given[1]
        if kind == "max_pool":
            padded, padding = _padding(value, more["pads"], float("-inf"))
            return functional.max_pool2d(padded, more["kernel"], more["strides"], padding)
        if kind == "average_pool":
            return functional.avg_pool2d(value, more["kernel"], more["strides"])
        if kind == "clip":
            return value.clamp(more["low"], more["high"])
        return _PLAIN[kind](value)

    def _weighted(self, kind: str, value: torch.Tensor, more: dict[str, Any]) -> torch.Tensor:
        weight, bias = self._weight(more["weight"]), self._bias(more)
        if kind == "linear":
            return functional.linear(value, weight, bias)
        if kind == "affine":  # per channel
            return value * weight + self._weight(more["bias"])
        padded, padding = _padding(value, more["pads"], 0.0)
        spread, groups = more.get("dilations", (1, 1)), more.get("groups", 1)
        return functional.conv2d(padded, weight, bias, more["strides"], padding, spread, groups)


#: Operations without parameters. What becomes a score does so in float32.
_PLAIN: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": functional.relu,
    "global_average_pool": lambda value: value.mean((2, 3), keepdim=True),
    "flatten": lambda value: value.flatten(1),
    "softmax": lambda value: functional.softmax(value.float(), dim=1),
    "sigmoid": lambda value: torch.sigmoid(value.float()),
}


def _padding(
    value: torch.Tensor, pads: Sequence[int], filling: float
) -> tuple[torch.Tensor, tuple[int, int]]:
    """ONNX's [top, left, bottom, right]: by the operation itself where it is symmetric."""
    top, left, bottom, right = pads
    if top == bottom and left == right:
        return value, (top, left)
    return functional.pad(value, (left, right, top, bottom), value=filling), (0, 0)


def save_model(
    path: Path, nodes: Sequence[Node], output: str, weights: Mapping[str, torch.Tensor]
) -> str:
    """Write the file; answers its sha256."""
    document = {
        "format": FORMAT,
        "nodes": [list(node) for node in nodes],
        "output": output,
        "weights": dict(weights),
    }
    torch.save(document, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_model(path: Path, sha256: str) -> GraphModel:
    """The model of a file whose digest is `sha256`; ModelFileError otherwise."""
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ModelFileError(f"{path.name} has sha256 {found}, the registry says {sha256}")
    document = torch.load(path, map_location="cpu", weights_only=True)
    if document.get("format") != FORMAT:
        raise ModelFileError(f"{path.name} has format {document.get('format')}, not {FORMAT}")
    return GraphModel(
        [tuple(node) for node in document["nodes"]], document["output"], document["weights"]
    ).eval()
