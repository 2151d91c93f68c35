"""What operators see in Dagster is true, key by key; and what they press there does what it says.

Media assets of its own, on the stack that all end-to-end tests share.
"""

import json
import re
import uuid
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from media_pipeline.cli.main import app
from media_pipeline.cli.producer import announce, upload
from media_pipeline.local_stack.sample_media import generate
from tests.e2e.pipeline import (
    backfill,
    ended,
    materialization,
    partition_statuses,
    wait_until,
)

pytestmark = pytest.mark.timeout(420)

ASSETS = ("text", "thumbnails", "ocr", "moderation", "enrichment")
CHECKS = {
    "text": {"text_is_not_empty"},
    "thumbnails": {"thumbnails_are_readable"},
    "ocr": {"ocr_is_confident"},
    "moderation": {"scores_have_not_drifted"},
    "enrichment": {"batch_verdict", "events_are_published"},
}
PREFIX = f"surface-{uuid.uuid4().hex[:6]}"


@pytest.fixture(scope="module")
def media(world, dagster):
    """Two scans, a photo, a report, and a file that nothing can read."""
    made = {one.asset_id.rsplit("-", 1)[1]: one for one in generate(40, seed=11)}
    chosen = {
        "scan-1": made["scan"], "scan-2": made["scan"], "photo": made["photo"],
        "report": made["report"], "poison": made["truncated"],
    }  # fmt: skip
    uploads = [
        upload(world, f"{PREFIX}-{name}", one.filename, one.data, one.content_type)
        for name, one in chosen.items()
    ]
    announce(world, uploads)
    keys = {name: f"{PREFIX}-{name}" for name in chosen}
    wait_until(lambda: ended(world, keys.values()), "five media assets")
    return keys


def ours(keys) -> set[str]:
    return {key for key in keys if key.startswith(PREFIX)}


def missing_and_failed(dagster, asset: str) -> set[str]:
    """What the UI's "missing and failed only" picks."""
    statuses = partition_statuses(dagster, asset)
    return ours(statuses["failedPartitions"] | statuses["unmaterializedPartitions"])


def observed(dagster, asset: str, key: str) -> dict[str, str]:
    """What stands on the page of a key that is not materialized."""
    (event,) = dagster.query(
        "query($a:AssetKeyInput!,$p:[String!]){assetOrError(assetKey:$a){... on Asset{"
        "assetObservations(partitions:$p,limit:1){metadataEntries{label"
        " ... on TextMetadataEntry{text}}}}}}",
        {"a": {"path": [asset]}, "p": [key]},
    )["assetOrError"]["assetObservations"]
    return {entry["label"]: entry.get("text", "") for entry in event["metadataEntries"]}


def stale(dagster, asset: str, keys: list[str]) -> list[list[str]]:
    """Why the UI shows each key as out of sync, at the root; nothing where it is in sync."""
    asked = " ".join(
        f"k{number}:staleStatus(partition:{json.dumps(key)})"
        f" c{number}:staleCauses(partition:{json.dumps(key)}){{reason key{{path}}}}"
        for number, key in enumerate(keys)
    )
    (node,) = dagster.query(
        f"query($a:[AssetKeyInput!]){{assetNodes(assetKeys:$a){{{asked}}}}}",
        {"a": [{"path": [asset]}]},
    )["assetNodes"]
    found = []
    for number in range(len(keys)):
        causes = [f"{one['key']['path'][0]} {one['reason']}" for one in node[f"c{number}"]]
        assert node[f"k{number}"] == ("STALE" if causes else "FRESH")
        found.append(causes)
    return found


def run_tags(dagster, run_id: str) -> dict[str, str]:
    run = dagster.query(
        "query($i:ID!){runOrError(runId:$i){... on Run{tags{key value}}}}", {"i": run_id}
    )["runOrError"]
    return {tag["key"]: tag["value"] for tag in run["tags"]}


def backfill_status(dagster, identity: str) -> str:
    return dagster.query(
        "query($i:String!){partitionBackfillOrError(backfillId:$i)"
        "{... on PartitionBackfill{status}}}",
        {"i": identity},
    )["partitionBackfillOrError"]["status"]


def finished(dagster, identity: str) -> str | None:
    status = backfill_status(dagster, identity)
    return status if status.startswith("COMPLETED") or status in ("CANCELED", "FAILED") else None


def test_a_poison_file_is_missing_on_exactly_its_key(world, dagster, media):
    for asset in ASSETS:
        assert missing_and_failed(dagster, asset) == {media["poison"]}, asset
        good = ours(partition_statuses(dagster, asset)["materializedPartitions"])
        assert good == set(media.values()) - {media["poison"]}
    assert observed(dagster, "text", media["poison"])["outcome"] == "invalid"
    assert "dead_letter" in observed(dagster, "enrichment", media["poison"])


def test_a_backfill_of_missing_and_failed_works_on_exactly_those(world, dagster, media):
    good = set(media.values()) - {media["poison"]}
    before = {key: materialization(dagster, "text", key) for key in good}
    picked = sorted(missing_and_failed(dagster, "enrichment"))
    assert picked == [media["poison"]]
    assert backfill(dagster, list(ASSETS), picked).startswith("COMPLETED")
    assert missing_and_failed(dagster, "enrichment") == {media["poison"]}, "it is still poison"
    assert {key: materialization(dagster, "text", key) for key in good} == before


def test_ingesting_again_rematerializes_with_another_data_version(world, dagster, media):
    before = materialization(dagster, "text", media["report"])
    changed = next(one for one in generate(40, seed=12) if one.asset_id.endswith("report"))
    announce(world, [upload(world, media["report"], "v2.pdf", changed.data, "application/pdf")])

    def again():
        now = materialization(dagster, "text", media["report"])
        return now if now["run"] != before["run"] else None

    after = wait_until(again, "the second version")
    assert after["version"] != before["version"]
    wait_until(lambda: ended(world, media.values()), "its enrichment")
    assert missing_and_failed(dagster, "enrichment") == {media["poison"]}


def test_one_workload_is_backfilled_alone_and_code_may_be_reloaded_meanwhile(world, dagster, media):
    keys = [media["scan-1"], media["scan-2"]]
    before = {asset: [materialization(dagster, asset, key) for key in keys] for asset in ASSETS}
    identity = dagster.launch_backfill(["ocr"], keys, {}, "reloaded meanwhile")
    dagster.reload_code()
    assert wait_until(lambda: finished(dagster, identity), "the backfill") == "COMPLETED_SUCCESS"
    after = {asset: [materialization(dagster, asset, key) for key in keys] for asset in ASSETS}
    assert {asset for asset in ASSETS if before[asset] != after[asset]} == {"ocr"}
    for new, old in zip(after["ocr"], before["ocr"], strict=True):
        assert (new["run"] != old["run"], new["version"]) == (True, old["version"])
    tags = run_tags(dagster, after["ocr"][0]["run"])
    assert (tags["dagster/max_retries"], tags["dagster/retry_strategy"]) == ("2", "ALL_STEPS")
    assert set(world.metadata_store.counts().by_status) <= {"complete", "partial", "dead_lettered"}


def test_a_cancelled_backfill_ends_and_leaves_what_was_there(world, dagster, media):
    keys = [media["scan-1"], media["scan-2"], media["photo"]]
    identity = dagster.launch_backfill(["ocr"], keys, {}, "to be cancelled")
    answer = dagster.query(
        "mutation($i:String!){cancelPartitionBackfill(backfillId:$i){__typename}}", {"i": identity}
    )
    assert answer["cancelPartitionBackfill"]["__typename"] == "CancelBackfillSuccess"
    assert wait_until(lambda: finished(dagster, identity), "the cancellation") == "CANCELED"
    assert missing_and_failed(dagster, "ocr") == {media["poison"]}
    assert ours(partition_statuses(dagster, "ocr")["materializedPartitions"]) >= set(keys)


def test_a_retired_key_comes_back_with_a_backfill(world, dagster, media):
    gone = media["scan-2"]
    dagster.query(
        "mutation($s:RepositorySelector!,$k:[String!]!){deleteDynamicPartitions("
        'repositorySelector:$s,partitionsDefName:"media_asset",partitionKeys:$k){__typename}}',
        {
            "s": {
                "repositoryName": "__repository__",
                "repositoryLocationName": "media_pipeline",
            },
            "k": [gone],
        },
    )
    assert gone not in set().union(*partition_statuses(dagster, "ocr").values())
    identity = dagster.launch_backfill(["thumbnails"], [gone], {}, "retired before")
    wait_until(lambda: finished(dagster, identity), "the backfill")
    assert backfill_status(dagster, identity) == "COMPLETED_SUCCESS"
    assert gone in partition_statuses(dagster, "thumbnails")["materializedPartitions"]
    assert gone in partition_statuses(dagster, "ocr")["materializedPartitions"], "its history"


def test_another_fingerprint_makes_exactly_its_workload_stale(stack, dagster, media):
    """Its downstream follows when the workload ran again, and not before; so Dagster defines it."""
    from media_pipeline.models.registry import load_registry, save_registry

    keys = [media["photo"], media["scan-1"]]
    path = stack.data_dir / "models.json"
    registry = load_registry(path)
    other = replace(registry.current, thresholds={"nsfw": {"review": 0.01, "block": 0.9}})
    fresh = {asset: [[], []] for asset in ASSETS}
    assert {asset: stale(dagster, asset, keys) for asset in ASSETS} == fresh
    try:
        save_registry(path, replace(registry, current=replace(other, name=PREFIX)))
        dagster.reload_code()
        found = {asset: stale(dagster, asset, keys) for asset in ASSETS}
        backfilled = backfill(dagster, ["moderation"], keys)
        after = {asset: stale(dagster, asset, keys) for asset in ASSETS}
        again = backfill(dagster, ["moderation", "enrichment"], keys)
        in_sync = {asset: stale(dagster, asset, keys) for asset in ASSETS}
    finally:
        save_registry(path, registry)
        dagster.reload_code()
    assert found == {**fresh, "moderation": [["moderation has a new code version"]] * 2}
    assert backfilled == again == "COMPLETED_SUCCESS"
    assert after == {**fresh, "enrichment": [["moderation has a new data version"]] * 2}
    assert in_sync == fresh


def test_checks_and_metadata_of_every_dagster_asset_are_shown(dagster, media):
    nodes = dagster.query(
        "{assetNodes{assetKey{path} owners{... on TeamAssetOwner{team}} kinds groupName"
        " metadataEntries{label} assetChecksOrError{... on AssetChecks{checks{name"
        " executionForLatestMaterialization{status}}}}}}"
    )["assetNodes"]
    shown = {node["assetKey"]["path"][0]: node for node in nodes}
    assert set(shown) == set(ASSETS)
    for name, node in shown.items():
        checks = {one["name"]: one for one in node["assetChecksOrError"]["checks"]}
        assert set(checks) == CHECKS[name]
        for check in checks.values():
            status = check["executionForLatestMaterialization"]["status"]
            assert status in ("SUCCEEDED", "FAILED"), (name, check)
        labels = {entry["label"] for entry in node["metadataEntries"]}
        assert "dagster/code_references" in labels
        assert node["owners"] == [{"team": "media-processing"}]
    labels = {entry["label"] for entry in shown["enrichment"]["metadataEntries"]}
    assert {"dagster/column_schema", "dagster/table_name"} <= labels


def test_the_daily_checks_ask_the_running_system(stack, dagster, media, monkeypatch, tmp_path):
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MEDIA_PIPELINE_DAGSTER_URL", dagster.url)
    # Other modules' broken media assets stand in the same ledger: how many is not the question.
    monkeypatch.setenv("MEDIA_PIPELINE_DAILY__MAX_FAILED_RATIO", "1")
    page = tmp_path / "daily.html"
    done = CliRunner().invoke(app, ["check", "daily", "--json", "--html", str(page)])
    report = json.loads(done.stdout)
    assert not [one for one in report["findings"] if one["level"] == "fail"], done.output
    assert done.exit_code == 0
    asked = {(one["check"], one["subject"]) for one in report["findings"]}
    for name in ("event log", "object store", "ledger", "Dagster"):
        assert ("dependency", name) in asked
    assert set(report["lags"].values()) == {0}
    assert {day["kind"] for day in report["days"]} >= {"text", "ocr"}
    assert "Outcomes by day" in page.read_text()
    monkeypatch.setenv("MEDIA_PIPELINE_DAILY__MAX_FAILED_RATIO", "0")
    monkeypatch.setenv("MEDIA_PIPELINE_DAILY__MIN_OUTCOMES", "1")
    worse = CliRunner().invoke(app, ["check", "daily", "--json", "--max-lag", "-1"])
    failed = {
        one["check"] for one in json.loads(worse.stdout)["findings"] if one["level"] == "fail"
    }
    assert (worse.exit_code, failed) == (1, {"failures of two days", "consumer lag"})


def test_the_scheduled_checks_run_in_dagster(stack, dagster, media, monkeypatch):
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MEDIA_PIPELINE_DAGSTER_URL", dagster.url)
    by_hand = CliRunner().invoke(app, ["check", "daily", "--json"]).exit_code
    launched = dagster.query(
        "mutation($p:ExecutionParams!){launchRun(executionParams:$p){__typename"
        " ... on LaunchRunSuccess{run{runId}} ... on PythonError{message}}}",
        {
            "p": {
                "selector": {
                    "repositoryName": "__repository__",
                    "repositoryLocationName": "media_pipeline",
                    "jobName": "daily_checks_job",
                },
                "runConfigData": {},
            }
        },
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched

    def status():
        run = dagster.query(
            "query($i:ID!){runOrError(runId:$i){... on Run{status}}}",
            {"i": launched["run"]["runId"]},
        )["runOrError"]["status"]
        return run if run in ("SUCCESS", "FAILURE", "CANCELED") else None

    expected = "FAILURE" if by_hand else "SUCCESS"
    assert wait_until(status, "the scheduled checks") == expected


def test_a_release_is_verified_by_samples_of_each_type(stack, dagster, media, monkeypatch):
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    types = ("note", "photo", "unknown")
    only = [word for name in types for word in ("--only", name)]
    done = CliRunner().invoke(app, ["verify", "--json", "--timeout", "240", *only])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["level"]) == (0, "ok"), found
    kept = {(one["check"], one["subject"]) for one in found["findings"]}
    assert kept == {
        *((check, name) for check in ("row", "objects", "event") for name in types),
        *(("counter", kind) for kind in ASSETS if kind != "enrichment"),
    }


def readable(document: str) -> str:
    """The words of a page alone."""
    body = re.sub(r"(?s)<style>.*?</style>|<rect.*?</rect>", "", document)
    return re.sub(r"(\s*<[^>]*>\s*)+", " | ", body)


def test_a_page_tells_everything_of_a_media_asset(stack, dagster, media, monkeypatch, tmp_path):
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MEDIA_PIPELINE_DAGSTER_URL", dagster.url)
    page = tmp_path / "scan.html"
    done = CliRunner().invoke(app, ["report", media["scan-1"], "-o", str(page)])
    assert done.exit_code == 0, done.output
    document = page.read_text()
    for part in ('class="word"', "data:image/webp;base64,", "Kafka partition", "/runs/", "allow"):
        assert part in document, f"{part} is not in {readable(document)}"
    assert CliRunner().invoke(app, ["report", "unheard-of"]).exit_code == 1
    poison = CliRunner().invoke(app, ["report", media["poison"], "-o", str(page)])
    assert poison.exit_code == 0
    assert "dead_lettered" in page.read_text()
