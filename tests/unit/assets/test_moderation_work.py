"""Which model file is used: the one of the registry, verified, or none."""

import hashlib
from pathlib import Path

import pytest

from media_pipeline.assets import moderation_work
from media_pipeline.assets.moderation_work import (
    FrameScores,
    Judge,
    ModerationWork,
    fetch_model,
    stage_spec,
)
from media_pipeline.domain.outcome import Code, ProcessorResult
from media_pipeline.errors import SystemicError
from media_pipeline.settings import ModerationSettings, Settings
from tests.fakes.object_store import FakeObjectStore
from tests.unit.models.test_registry import manifest

DATA = b"weights"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def entry():
    from dataclasses import replace

    return replace(manifest("m"), sha256=DIGEST)


def judge(entry) -> Judge:
    return Judge(entry, Path("m.pt"), "auto", "auto", 8)


def test_it_is_downloaded_once_and_verified_each_time(tmp_path, entry):
    store = FakeObjectStore()
    store.put(entry.object_key, DATA, "x")
    path = fetch_model(entry, store, tmp_path / "models")
    assert path.read_bytes() == DATA
    store.objects.clear()
    assert fetch_model(entry, store, tmp_path / "models") == path
    path.write_bytes(b"changed on disk")
    with pytest.raises(SystemicError, match="model_missing"):
        fetch_model(entry, store, tmp_path / "models")


def test_another_file_under_its_name_stops_everything_and_names_both_digests(tmp_path, entry):
    store = FakeObjectStore()
    store.put(entry.object_key, b"something else", "x")
    with pytest.raises(SystemicError) as caught:
        fetch_model(entry, store, tmp_path)
    assert caught.value.code == "model_digest"
    assert DIGEST in str(caught.value)
    assert hashlib.sha256(b"something else").hexdigest() in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_demanded_gpu_that_is_missing_is_systemic(tmp_path, entry):
    work = ModerationWork(Settings(), judge(entry))
    with pytest.raises(SystemicError, match="device_missing"):
        work.refuse([], ProcessorResult(Code.UNSUPPORTED, "no CUDA device"))
    work.refuse([], ProcessorResult(Code.TIMEOUT, "slow"))


def test_the_verdict_is_kept_with_the_scores_of_each_frame(tmp_path, entry):
    import json

    work = ModerationWork(Settings(), judge(entry))
    prepared = ProcessorResult(Code.OK, attributes={"frames": ["page 1", "page 2"]})
    answers = [
        FrameScores([0.1, 0.9], "cpu", "float32"), FrameScores([0.5, 0.5], "cpu", "float32"),
    ]  # fmt: skip
    result = work.merge(None, prepared, answers)
    assert result.attributes["verdict"] == "review"
    assert result.attributes["scores"] == {"a": 0.5, "b": 0.9}
    document = json.loads(result.artifacts[0].data)
    assert document["model"]["sha256"] == DIGEST
    assert document["frames"][1] == {"source": "page 2", "scores": {"a": 0.5, "b": 0.5}}


@pytest.mark.parametrize(
    ("device", "driver", "lane"),
    [
        ("cuda", False, "accelerator"),
        ("auto", True, "accelerator"),
        ("auto", False, "inference"),
        ("cpu", True, "inference"),
    ],
)
def test_a_gpu_is_taken_where_there_is_a_driver_or_one_is_demanded(
    entry, tmp_path, monkeypatch, device, driver, lane
):
    file = tmp_path / "nvidiactl"
    if driver:
        file.touch()
    monkeypatch.setattr(moderation_work, "_GPU_DRIVER", file)
    settings = Settings(moderation=ModerationSettings(device=device))
    assert stage_spec(settings, entry).lane == lane
