"""What no longer agrees is found, told by the daily job, and put right by replay alone."""

import json
import time
import uuid

import pytest

from tests.e2e.pipeline import lose, message, outcomes, wait_until

pytestmark = pytest.mark.timeout(420)

LOST = f"forgotten-{uuid.uuid4().hex[:6]}"
WINDOW = ("--since", "1h", "--idle-minutes", "0")


def findings_of(output, kind, subjects):
    found = json.loads(output)["findings"]
    return {one["subject"] for one in found if one["kind"] == kind} & set(subjects)


@pytest.fixture(scope="module")
def broken(stack, world, dagster, samples):
    """(media asset without its objects, their keys, the message that nobody read)."""
    sample = next(one.asset_id for one in samples if one.expected == "complete")
    rows = world.metadata_store.derivatives([sample])
    keys = sorted(part.object_key for row in rows for part in row.artifacts)
    delete(stack, world.settings.object_store.derived_bucket, keys)
    world.object_store.upload("media", f"uploads/{LOST}", b"Nobody read this.", "text/plain")
    ((number, offset),) = lose(world, dagster, [message(LOST)]).items()
    return sample, keys, f"{world.settings.kafka.ingested_topic}/{number}/{offset}"


def test_missing_objects_and_unread_messages_are_found(world, broken, run):
    _, keys, gap = broken
    code, output = run("reconcile", *WINDOW, "--json")
    assert code == 1
    assert findings_of(output, "missing_object", keys) == set(keys)
    assert findings_of(output, "gap", [gap]) == {gap}
    assert "reconcile --fix" in json.loads(output)["remedies"]["gap"]
    assert outcomes(world, [LOST]) == {}, "looking changes nothing"


def test_the_daily_job_fails_and_says_what_and_what_to_do(dagster, broken):
    said = failure_of_the_daily_job(dagster)
    assert "missing_object: a derivative row whose object is gone" in said
    assert "media-pipeline reconcile --fix makes it again" in said
    assert "gap: a message behind the sensor's cursor" in said
    assert broken[2] in said


def test_fix_puts_everything_right_without_duplicates(world, broken, run):
    sample, keys, gap = broken
    _, output = run("reconcile", *WINDOW, "--fix")
    assert "0 duplicate objects, 0 duplicate rows" in output
    assert world.stored_objects.present(keys) == set(keys)
    assert set(outcomes(world, [LOST])) == {LOST}
    _, output = run("reconcile", *WINDOW, "--json")
    assert not findings_of(output, "missing_object", keys)
    assert not findings_of(output, "gap", [gap])
    assert not findings_of(output, "unmaterialized", [sample, LOST])


def delete(stack, bucket, keys):
    """With the store's own key: the pipeline may not delete."""
    from minio import Minio

    client = Minio(
        endpoint=stack.s3_endpoint, access_key=stack.s3_access_key,
        secret_key=stack.s3_secret_key, secure=False, region="us-east-1",
    )  # fmt: skip
    for key in keys:
        client.remove_object(bucket_name=bucket, object_name=key)


def failure_of_the_daily_job(dagster) -> str:
    """Run `reconcile_job` over the last hour; everything that its failure says."""
    now = time.time()
    config = {"ops": {"reconcile": {"config": {"since": now - 3600, "until": now}}}}
    launched = dagster.query(
        "mutation($e:ExecutionParams!){launchRun(executionParams:$e){__typename"
        " ... on LaunchRunSuccess{run{runId}} ... on PythonError{message}"
        " ... on RunConfigValidationInvalid{errors{message}}}}",
        {
            "e": {
                "selector": {
                    "repositoryName": "__repository__",
                    "repositoryLocationName": "media_pipeline",
                    "pipelineName": "reconcile_job",
                },
                "runConfigData": config,
            }
        },
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched

    def ended():
        run = dagster.query(
            "query($i:ID!){runOrError(runId:$i){... on Run{status eventConnection{events{"
            "... on ExecutionStepFailureEvent{error{message causes{message}}"
            " failureMetadata{description metadataEntries{label"
            " ... on MarkdownMetadataEntry{mdStr}}}}}}}}}",
            {"i": launched["run"]["runId"]},
        )["runOrError"]
        return run if run["status"] in ("SUCCESS", "FAILURE") else None

    found = wait_until(ended, "the job")
    assert found["status"] == "FAILURE"
    return json.dumps([event for event in found["eventConnection"]["events"] if event])
