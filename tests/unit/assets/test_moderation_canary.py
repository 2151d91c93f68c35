"""Two models over one sample: the same frames, failures by model, downloads that are removed."""

from dataclasses import replace
from pathlib import Path

import pytest

from media_pipeline.assets import moderation_canary
from media_pipeline.assets.moderation_canary import judged_pairs, same_frames
from media_pipeline.assets.moderation_work import Judge
from media_pipeline.domain.media_asset import MediaAsset, SourceObject
from media_pipeline.domain.outcome import Artifact, Code, ProcessorResult
from media_pipeline.domain.samples import SampledMedia
from media_pipeline.errors import SystemicError
from media_pipeline.models.comparison import Failed, Judgement
from media_pipeline.processing.json_artifact import packed_json
from media_pipeline.settings import Settings
from media_pipeline.workers.pool import TaskDone
from tests.fakes.object_store import FakeObjectStore
from tests.unit.models.test_registry import NEW, OLD

SIDE = 4
CURRENT = replace(OLD, resize=8, crop=SIDE)
CANDIDATE = replace(NEW, resize=8, crop=SIDE, thresholds={"a": {"review": 0.1, "block": 0.3}})


class Pool:
    """Frames are the file's own letters; the score of `a` is the first byte in percent."""

    def __init__(self, fails=None) -> None:
        self.fails = fails or {}
        self.tasks = []

    def run(self, tasks):
        for task in tasks:
            if task is not None:
                self.tasks.append(task)
                yield TaskDone(task.task_id, self._done(task))

    def _done(self, task):
        if task.kind == "frames":
            data = task.content.read_bytes()
            if data == b"broken":
                return ProcessorResult(Code.INVALID, "no picture")
            packed = b"".join(bytes([one]) * task.params["crop"] ** 2 * 3 for one in data)
            sources = [f"page {number}" for number in range(len(data))]
            return ProcessorResult(
                Code.OK, artifacts=(Artifact("frames.bin", "x", packed),),
                attributes={"frames": sources},
            )  # fmt: skip
        size = task.params["side"] ** 2 * 3
        firsts = [task.content[at] for at in range(0, len(task.content), size)]
        code = self.fails.get(task.params["sha256"])
        if code and 66 in firsts:
            return ProcessorResult(code, "this one")
        scores = [[one / 100, 1 - one / 100] for one in firsts]
        return ProcessorResult(
            Code.OK, artifacts=(Artifact("s", "x", packed_json({"scores": scores})),),
            attributes={"device": "cpu", "dtype": "float32", "forward_seconds": len(firsts) * 0.5},
        )  # fmt: skip


def judges(candidate=CANDIDATE):
    return {
        side: Judge(manifest, Path("m.pt"), "auto", "auto", 8)
        for side, manifest in (("current", CURRENT), ("candidate", candidate))
    }


def run(files, pool=None, candidate=CANDIDATE, tmp_path=None):
    """Media asset -> pair; a file of None was never uploaded."""
    store = FakeObjectStore()
    sample = []
    for name, data in files.items():
        source = SourceObject("media", name)
        if data is not None:
            store.upload("media", name, data, None)
        asset = MediaAsset(name, "v", source, "e", "2026-01-01T00:00:00Z")
        sample.append(SampledMedia(name, asset, "moderation-0", {"verdict": "review"}))
    settings = Settings(processing={"scratch_dir": str(tmp_path)} if tmp_path else {})
    pages = [sample[:2], sample[2:]]
    pairs = list(judged_pairs(settings, judges(candidate), pages, store=store, pool=pool or Pool()))
    assert [pair.asset_id for pair in pairs] == list(files)
    assert sorted(store.fetches) == sorted(files), "downloaded once"
    return {pair.asset_id: pair for pair in pairs}


def test_both_judge_the_same_bytes_by_their_own_thresholds():
    pool = Pool()
    found = run({"one": bytes([20]), "two": bytes([5, 40])}, pool)
    assert same_frames(Settings(), judges())
    assert [task.kind for task in pool.tasks].count("frames") == 2, "frames are made once"
    seen = {"old" * 8: b"", "new" * 8: b""}
    for task in pool.tasks:
        if task.kind == "moderation":
            seen[task.params["sha256"]] += task.content
    assert seen["old" * 8] == seen["new" * 8] != b""
    one, two = found["one"], found["two"]
    assert (one.current.verdict, one.candidate.verdict) == ("review", "review")
    assert (two.current.verdict, two.candidate.verdict) == ("review", "block")
    assert two.current.scores == {"a": 0.4, "b": 0.95}
    assert two.candidate.levels == {"a": "block"}
    assert (two.current.seconds, two.current.ran_on) == (0.5, "cpu float32")
    assert two.recorded == "review"
    assert two.picture.startswith(b"\x89PNG")


def test_other_preprocessing_gets_frames_of_its_own():
    other = replace(CANDIDATE, resize=6, crop=2)
    assert not same_frames(Settings(), judges(other))
    pool = Pool()
    found = run({"one": bytes([20]), "two": bytes([5, 40])}, pool, other)
    assert sorted(task.params["crop"] for task in pool.tasks if task.kind == "frames") == [
        2,
        2,
        4,
        4,
    ]
    assert found["two"].candidate.verdict == "block"
    assert found["two"].current.scores == found["two"].candidate.scores


@pytest.mark.parametrize("candidate", [CANDIDATE, replace(CANDIDATE, crop=2)], ids=["same", "own"])
def test_who_failed_is_told_and_neighbours_do_not_notice(candidate):
    files = {"a": bytes([20]), "bad": bytes([66]), "c": bytes([30]), "gone": None, "d": b"broken"}
    found = run(files, Pool({NEW.sha256: Code.TIMEOUT}), candidate)
    assert found["bad"].candidate == Failed("timeout", "this one")
    assert not isinstance(found["bad"].current, Failed)
    for name in ("a", "c"):
        assert isinstance(found[name].current, Judgement)
        assert isinstance(found[name].candidate, Judgement)
    assert found["gone"].current.code == found["gone"].candidate.code == "object_missing"
    assert found["d"].current == found["d"].candidate == Failed("invalid", "no picture")


def test_a_demanded_gpu_that_is_missing_stops_everything():
    with pytest.raises(SystemicError, match="device_missing"):
        run({"bad": bytes([66])}, Pool({OLD.sha256: Code.UNSUPPORTED}))


def test_downloads_are_on_disk_for_a_chunk_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(moderation_canary, "CHUNK", 2)
    most = []

    class Watching(Pool):
        def run(self, tasks):
            for done in super().run(tasks):
                most.append(len(list(tmp_path.rglob("*"))))
                yield done

    run({f"f{n}": bytes([n + 1]) for n in range(7)}, Watching(), tmp_path=tmp_path)
    assert max(most) <= 3, "two files and their folder"
    assert list(tmp_path.iterdir()) == []
