"""Graphs from files: used when they score as onnxruntime says, refused by name otherwise."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

from media_pipeline.errors import SystemicError
from media_pipeline.models.onnx_import import import_graph
from media_pipeline.models.registry import ModelManifest
from media_pipeline.processing.moderation import ModelUse, score_frames
from tests.unit.models.onnx_graphs import save_classifier, save_graph

WANTED = ModelManifest(
    "small", "1", "", "", 0, ("calm", "wild"), (127.5, 120.0, 110.0), 20, 16, False,
    {"wild": {"review": 0.2, "block": 0.8}}, {"activation": "softmax"}, "rgb", (64.0, 60.0, 50.0),
)  # fmt: skip


def test_a_graph_of_many_operations_becomes_a_model(tmp_path):
    made = import_graph(save_classifier(tmp_path / "a.onnx"), tmp_path, WANTED)
    assert made.object_key == f"models/small/{made.sha256}.pt"
    assert (tmp_path / f"{made.sha256}.pt").stat().st_size == made.size_bytes
    assert len(made.source["onnx_sha256"]) == 64


def test_channels_mean_and_deviation_are_applied_to_frames(tmp_path):
    """Against onnxruntime on pictures prepared by hand: RGB, shifted, scaled."""
    import onnxruntime

    path = save_classifier(tmp_path / "a.onnx")
    made = import_graph(path, tmp_path, WANTED)
    frames = np.random.default_rng(3).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)  # BGR
    use = ModelUse(
        str(tmp_path / f"{made.sha256}.pt"), made.sha256, made.labels, made.mean, 16,
        dtype="float32", channels=made.channels, deviation=made.deviation,
    )  # fmt: skip
    from media_pipeline.processing.json_artifact import unpacked_json

    result = score_frames(frames.tobytes(), use)
    found = np.array(unpacked_json(result.artifacts[0].data)["scores"])
    rgb = frames[..., ::-1].astype(np.float32)
    prepared = (rgb - np.array(made.mean, np.float32)) / np.array(made.deviation, np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits = session.run(None, {"pictures": prepared.transpose(0, 3, 1, 2)})[0]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(found - expected).max() < 1e-5
    assert float(str(result.attributes["forward_seconds"])) > 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"source": {}}, "not within 0..1"),
        ({"labels": ("a", "b", "c")}, "2 scores for 3 labels"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path, change, why):
    with pytest.raises(SystemicError, match=why) as caught:
        import_graph(save_classifier(tmp_path / "a.onnx"), tmp_path, replace(WANTED, **change))
    assert caught.value.code == "model_differs"


def test_what_an_operation_means_otherwise_is_noticed(tmp_path):
    """Ceiling of a pool's size is nothing that the walk knows: the scores tell."""
    dice = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["pictures", "w"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["m"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        helper.make_node("GlobalAveragePool", ["m"], ["g"]),
        helper.make_node("Flatten", ["g"], ["logits"]),
    ]
    weights = {"w": dice.normal(0, 1, (2, 3, 3, 3)).astype(np.float32)}
    path = save_graph(tmp_path / "a.onnx", nodes, weights, shape=("n", 3, 16, 16))
    with pytest.raises(SystemicError, match="differ from those of onnxruntime"):
        import_graph(path, tmp_path, WANTED)


def test_an_operation_that_is_not_known_is_named(tmp_path):
    nodes = [helper.make_node("Tanh", ["pictures"], ["logits"])]
    path = save_graph(tmp_path / "a.onnx", nodes, {})
    with pytest.raises(SystemicError, match="operation Tanh") as caught:
        import_graph(path, tmp_path, WANTED)
    assert caught.value.code == "model_unknown"


def test_a_constant_added_elsewhere_is_not_taken_for_a_bias(tmp_path):
    nodes = [
        helper.make_node("Relu", ["pictures"], ["r"]),
        helper.make_node("Add", ["r", "w"], ["logits"]),
    ]
    path = save_graph(tmp_path / "a.onnx", nodes, {"w": np.ones((1,), np.float32)})
    with pytest.raises(SystemicError, match="Add of a constant"):
        import_graph(path, tmp_path, WANTED)


@pytest.mark.parametrize("data", [b"", b"no graph at all", b"\x08\x07"])
def test_what_is_no_graph_is_said(tmp_path, data):
    path = tmp_path / "a.onnx"
    path.write_bytes(data)
    with pytest.raises(SystemicError, match="cannot be read as a classifier"):
        import_graph(path, tmp_path, WANTED)


def test_a_graph_of_anything_but_pictures_is_said(tmp_path):
    nodes = [helper.make_node("Relu", ["pictures"], ["logits"])]
    path = save_graph(tmp_path / "a.onnx", nodes, {}, shape=("n", 77))
    with pytest.raises(SystemicError, match="no batch of pictures"):
        import_graph(path, tmp_path, WANTED)
