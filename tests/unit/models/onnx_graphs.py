"""Small ONNX classifiers with the operations that exporters write."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save_graph(path, nodes, weights, *, shape=("n", 3, 16, 16), output="logits") -> Path:
    """A file with these nodes from `pictures` to `output`."""
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return Path(path)


def save_classifier(path, *, side=16, labels=2, seed=1) -> Path:
    """Convolution, batch normalization, a depthwise and a dilated one, pooling, Gemm: logits."""
    dice = np.random.default_rng(seed)

    def weights_of(*shape):
        return dice.normal(0, 0.3, shape).astype(np.float32)

    weights = {
        "w1": weights_of(8, 3, 3, 3), "scale": abs(weights_of(8)) + 1, "shift": weights_of(8),
        "mean": weights_of(8), "variance": abs(weights_of(8)) + 0.5,
        "w2": weights_of(8, 1, 3, 3), "b2": weights_of(8), "w3": weights_of(6, 8, 3, 3),
        "low": np.float32(0), "high": np.float32(6),
        "fc": weights_of(labels, 6), "fc_bias": weights_of(labels),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["pictures", "w1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node(
            "BatchNormalization", ["c1", "scale", "shift", "mean", "variance"], ["n1"]
        ),
        helper.make_node("Clip", ["n1", "low", "high"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1], group=8),
        helper.make_node("Add", ["c2", "r1"], ["a2"]),
        helper.make_node("Conv", ["a2", "w3"], ["c3"], dilations=[2, 2]),
        helper.make_node("Relu", ["c3"], ["r3"]),
        helper.make_node("GlobalAveragePool", ["r3"], ["p3"]),
        helper.make_node("Flatten", ["p3"], ["f3"], axis=1),
        helper.make_node("Dropout", ["f3"], ["d3"]),
        helper.make_node("Gemm", ["d3", "fc", "fc_bias"], ["logits"], transB=1),
    ]
    return save_graph(path, nodes, weights, shape=("n", 3, side, side))
