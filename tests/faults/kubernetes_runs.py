"""What tests of runs as Kubernetes Jobs share."""

from collections import Counter
from pathlib import Path

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


def production_instance(cluster, directory: Path, start_timeout_seconds: int = 40) -> Path:
    """The production instance, with the local cluster's address and a quick monitor."""
    instance = yaml.safe_load((ROOT / "dagster_home" / "dagster.k8s.yaml").read_text())
    instance["run_launcher"]["config"] |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(cluster.kubeconfig),
        "job_namespace": NAMESPACE,
        "job_image": "registry.invalid/media-pipeline:test",
    }
    instance["run_monitoring"] |= {
        "poll_interval_seconds": 1,
        "start_timeout_seconds": start_timeout_seconds,
    }
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


def assert_enriched_once(world, names) -> None:
    wait_until(lambda: ended(world, names), f"the end of {names}")
    events = Counter()
    for record in read_topic(world, world.settings.kafka.enriched_topic):
        events[parse_asset_enriched(record.value)["asset_id"]] += 1
    assert {name: events[name] for name in names} == dict.fromkeys(names, 1)
