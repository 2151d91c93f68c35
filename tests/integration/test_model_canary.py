"""`models canary` on real servers: a candidate beside the current model, nothing changed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from media_pipeline.assets.moderation_work import KIND, ModerationWork, model_directory, ready_judge
from media_pipeline.assets.source_media import SourceMedia
from media_pipeline.assets.staged_workload import process_staged_batch
from media_pipeline.assets.worker_pool import build_worker_pool
from media_pipeline.cli.main import app
from media_pipeline.cli.producer import upload
from media_pipeline.cli.world import World
from media_pipeline.domain.outcome import Code, Derivative, Verdict
from media_pipeline.domain.ports import Arrival, AssetResult
from media_pipeline.fingerprints import current_model
from media_pipeline.local_stack.sample_media import generate
from media_pipeline.settings import load_settings
from tests.contract.metadata_store.test_metadata_store import record
from tests.unit.models.onnx_graphs import save_classifier


@pytest.fixture(scope="module")
def canary_world(stack, tmp_path_factory):
    """Settings with a registry of their own, the current model, and a few judged media assets."""
    directory = tmp_path_factory.mktemp("canary")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment().items():
            patch.setenv(name, value)
        patch.setenv("MEDIA_PIPELINE_MODERATION__REGISTRY_FILE", str(directory / "models.json"))
        patch.setenv("MEDIA_PIPELINE_MODERATION__MODEL_DIR", str(directory / "models"))
        patch.setenv("MEDIA_PIPELINE_MODERATION__DTYPE", "float32")
        run("import", "opennsfw")
        world = World(load_settings())
        judged = enrich(world, directory)
        yield world, directory, judged


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["models", *arguments])
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def enrich(world: World, directory: Path) -> list[str]:
    """Moderate a few generated files as the Dagster asset does, without Dagster.

    The last one's object is never uploaded: what was judged once and is gone now.
    """
    settings, ledger = world.settings, world.metadata_store
    uploads = [
        upload(world, f"canary-{one.asset_id}", one.filename, one.data, one.content_type)
        for one in generate(16, seed=5)
    ]
    ledger.register([Arrival(one.asset, record()) for one in uploads])
    claims = ledger.claim("canary-run", "canary-run", [one.asset.asset_id for one in uploads])
    work = ModerationWork(
        settings, ready_judge(settings, current_model(settings), world.object_store)
    )
    source = SourceMedia(world.object_store, directory, max_bytes=10**8)
    with build_worker_pool(settings, [str(model_directory(settings))]) as pool:
        outcomes = list(
            process_staged_batch(work, claims, fetch=source.fetch, pool=pool, fetch_threads=2)
        )
    ok = [one for one in outcomes if one.result.code is Code.OK]
    assert len(ok) >= 6
    keep(ledger, "canary-run", ok)
    gone = gone_asset(ledger, ok[0])
    return [*(one.asset_id for one in ok), gone]


def keep(ledger, run_id, outcomes) -> None:
    rows = [
        Derivative(
            one.asset_id, one.content_version, one.fence, KIND, one.fingerprint, one.input_digest,
            one.input_bytes, Code.OK, "", (), one.result.attributes, one.result.seconds,
        )
        for one in outcomes
    ]  # fmt: skip
    results = [
        AssetResult(
            row.asset_id, row.content_version, row.fence, Verdict("complete"), row.input_digest,
            row.input_bytes, (row,),
        )
        for row in rows
    ]  # fmt: skip
    assert all(one.accepted for one in ledger.record(run_id, results, "0"))


def gone_asset(ledger, like) -> str:
    from dataclasses import replace

    from tests.contract.metadata_store.test_metadata_store import arrival

    ledger.register([arrival("canary-gone")])
    (claim,) = ledger.claim("canary-gone-run", "canary-gone-run", ["canary-gone"])
    outcome = replace(like, asset_id="canary-gone", content_version="sha256:1", fence=claim.fence)
    keep(ledger, "canary-gone-run", [outcome])
    return "canary-gone"


def ledger_rows(world, judged):
    return world.metadata_store.derivatives(judged), world.metadata_store.counts()


def test_other_thresholds_flip_verdicts_and_change_nothing(canary_world, tmp_path):
    world, _, judged = canary_world
    run("variant", "opennsfw", "--version", "strict", "--threshold", "nsfw=0:0.8")
    before = ledger_rows(world, judged), world.object_store.list_keys("derived/")
    arguments = ("canary", "opennsfw:strict", "--sample", "5000", "--out", str(tmp_path / "out"))
    output = run(*arguments, "--max-flips", "0", code=3)
    assert "verdict flips" in output
    run(*arguments, "--max-flips", "5000")
    assert before == (ledger_rows(world, judged), world.object_store.list_keys("derived/"))

    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["same_frames"]
    assert found["current"]["sha256"] == found["candidate"]["sha256"]
    assert found["current"]["fingerprint"] != found["candidate"]["fingerprint"]
    assert found["sample"]["drawn"] == found["sample"]["population"] >= len(judged)
    assert found["moves"]["allow>review"] == found["flips"] == found["stricter"]
    assert found["recorded_differs"] == 0, "the current model says what it said when it recorded"
    assert "canary-gone" in found["left_out"]["object_missing"]
    flipped = {one["asset_id"] for one in found["flipped"]}
    assert set(judged) - {"canary-gone"} == {one for one in flipped if one.startswith("canary-")}
    (nsfw,) = [one for one in found["labels"] if one["label"] == "nsfw"]
    assert nsfw["difference"]["highest"] == 0.0, "the same frames by the same weights"
    assert nsfw["histogram"]["current"] == nsfw["histogram"]["candidate"]
    assert nsfw["flips"] == {"allow>review": found["flips"]}
    for side in ("current", "candidate"):
        assert found["latency"][side]["count"] == found["compared"]
        assert found["latency"][side]["p50"] > 0
        assert found["ran_on"][side] == {"cpu float32": found["compared"]}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "<script" not in page


def test_a_model_that_wants_other_frames_gets_them(canary_world, tmp_path):
    _, _, judged = canary_world
    graph = save_classifier(tmp_path / "small.onnx", side=32, labels=3)
    output = run(
        "import-file", str(graph), "--name", "small", "--labels", "calm,odd,wild",
        "--threshold", "wild=0.1:0.2", "--resize", "40", "--crop", "32",
        "--mean", "127.5,127.5,127.5", "--deviation", "255,255,255", "--activation", "softmax",
    )  # fmt: skip
    assert "(small:1) is a candidate" in output
    run("canary", "small", "--sample", "5000", "--out", str(tmp_path / "out"))
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert not found["same_frames"]
    assert found["compared"] >= len(judged) - 1
    labels = {one["label"]: one for one in found["labels"]}
    assert set(labels) == {"calm", "odd", "wild", "sfw", "nsfw"}
    assert list(labels["wild"]["histogram"]) == ["candidate"]
    assert labels["wild"]["difference"]["count"] == 0
    assert "canary-gone" in found["left_out"]["object_missing"]


def test_the_same_seed_judges_the_same_media_assets(canary_world, tmp_path):
    run("variant", "opennsfw", "--version", "repeat", "--threshold", "nsfw=0:0.8")
    drawn = []
    for number in (1, 2):
        out = tmp_path / str(number)
        run("canary", "opennsfw:repeat", "--sample", "4", "--seed", "x", "--out", str(out))
        found = json.loads((out / "report.json").read_text())
        assert found["sample"]["drawn"] == 4
        left_out = [name for names in found["left_out"].values() for name in names]
        drawn.append(sorted([*(one["asset_id"] for one in found["flipped"]), *left_out]))
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 4
