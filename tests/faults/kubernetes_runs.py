"""What tests of runs as Kubernetes Jobs share."""

from collections import Counter
from pathlib import Path

import psycopg
import yaml

from media_pipeline.cli.producer import announce, upload
from media_pipeline.contracts.asset_enriched import parse_asset_enriched
from tests.e2e.pipeline import ended, read_topic, wait_until
from tests.fakes.kubernetes import NAMESPACE

ROOT = Path(__file__).resolve().parents[2]
#: Without OCR and moderation: launching is what is looked at.
LIGHT = {
    "MEDIA_PIPELINE_WORKLOADS": '["text","thumbnails"]',
    "MEDIA_PIPELINE_RUNS__PRIORITY_CLASSES": '{"live":"media-live"}',
}


#: For a pod: it dies as soon as it has claimed.
AFTER_CLAIM = {"MEDIA_PIPELINE_CRASH_AT": "metadata_store.claim:after"}
#: Folder for a pod's PYTHONPATH: at its crash point it stands still instead, until it is thawed.
STANDS_STILL = str(Path(__file__).parent / "standing_still")
#: For Dagster itself, not for its pods: what only takes time is quick.
QUICK = {
    "PYTHONPATH": str(Path(__file__).parents[1] / "quick_dagster"),
    "DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS": "1",  # makes retries
}


def production_instance(cluster, directory: Path, start_timeout_seconds: int | None = None) -> Path:
    """The production instance, with the local cluster's address and a quick monitor.

    Its timeouts stay unless another is given: a busy machine may take long. What a test wants to
    be over grows old."""
    instance = yaml.safe_load((ROOT / "dagster_home" / "dagster.k8s.yaml").read_text())
    instance["run_launcher"]["config"] |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(cluster.kubeconfig),
        "job_namespace": NAMESPACE,
        "job_image": "registry.invalid/media-pipeline:test",
    }
    instance["run_monitoring"]["poll_interval_seconds"] = 1
    if start_timeout_seconds is not None:
        instance["run_monitoring"]["start_timeout_seconds"] = start_timeout_seconds
    file = directory / "dagster.yaml"
    file.write_text(yaml.safe_dump(instance))
    return file


def ingest(world, prefix: str, count: int = 3) -> list[str]:
    names = [f"{prefix}-{number}" for number in range(count)]
    announce(
        world,
        [upload(world, one, "a.txt", f"Note {one}.".encode(), "text/plain") for one in names],
    )
    return names


def run_of(pod) -> str:
    return pod.name.removeprefix("dagster-run-")


def grow_old(stack, run_id: str) -> None:
    """An hour passes for a run that is about to start."""
    url = stack.dagster_postgres_url.replace("+psycopg2", "")
    with psycopg.connect(url, autocommit=True) as connection:
        done = connection.execute(
            "update event_logs set timestamp = timestamp - interval '1 hour' where run_id = %s"
            " and dagster_event_type = 'PIPELINE_STARTING'",
            [run_id],
        )
        assert done.rowcount == 1, "it was not starting"


def ledger(stack, names) -> dict[str, tuple[str, int, int]]:
    """media asset -> (status, attempts, of these lost)."""
    with psycopg.connect(stack.postgres_dsn) as connection:
        rows = connection.execute(
            "select asset_id, status, attempts, lost_attempts from media.media_asset"
            " where asset_id = any(%s)",
            [list(names)],
        ).fetchall()
    return {row[0]: row[1:] for row in rows}


def ended_with(dagster, run_id: str) -> tuple[str, str]:
    """(status, what Dagster says of its failure)."""
    found = dagster.query(
        "query($r:ID!){runOrError(runId:$r){... on Run{status}}"
        " logsForRun(runId:$r){... on EventConnection{events{"
        "... on RunFailureEvent{message}}}}}",
        {"r": run_id},
    )
    said = [one["message"] for one in found["logsForRun"]["events"] if one]
    return found["runOrError"]["status"], "\n".join(said)


def retried(dagster, pod) -> str:
    """How the newest retry of this one's run stands; empty before there is one. The first may
    have been launched while the API was away."""
    found = dagster.query(
        "query($f:RunsFilter!){runsOrError(filter:$f){... on Runs{results{runId status}}}}",
        {"f": {"tags": [{"key": "dagster/root_run_id", "value": run_of(pod)}]}},
    )["runsOrError"]["results"]
    return found[0]["status"] if found else ""


def assert_enriched_once(world, names) -> None:
    wait_until(lambda: ended(world, names), f"the end of {names}")
    events = Counter()
    for record in read_topic(world, world.settings.kafka.enriched_topic):
        events[parse_asset_enriched(record.value)["asset_id"]] += 1
    assert {name: events[name] for name in names} == dict.fromkeys(names, 1)
