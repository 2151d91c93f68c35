"""A pod per workload, by setting: the same results as all workloads in one process."""

import json
from dataclasses import replace

import dagster as dg
import pytest

from media_pipeline.batch_tags import range_run_tags
from media_pipeline.cli.dagster_process import dagster_environment, running_dagster
from media_pipeline.cli.producer import upload
from media_pipeline.cli.world import World
from media_pipeline.definitions import build_defs
from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.ports import Arrival
from media_pipeline.jobs import ENRICH_MEDIA_JOB
from media_pipeline.local_stack.ports import free_port
from media_pipeline.partitions import MEDIA_ASSETS
from tests.e2e.pipeline import wait_until
from tests.fakes.kubernetes import LocalCluster
from tests.faults.kubernetes_runs import (
    AFTER_CLAIM,
    LIGHT,
    QUICK,
    assert_enriched_once,
    ended_with,
    ingest,
    ledger,
    production_instance,
    retried,
    run_of,
)
from tests.stacks import throwaway_stack

pytestmark = pytest.mark.timeout(300)
GPU = {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}
PODS = {
    **LIGHT,
    "MEDIA_PIPELINE_RUNS__EXECUTOR": "k8s_job",
    "MEDIA_PIPELINE_RUNS__STEP_CONFIG": json.dumps({"thumbnails": GPU}),
}


def enrich_in_process(stack, world, names, monkeypatch) -> None:
    for name, value in {**stack.environment(), **LIGHT}.items():
        monkeypatch.setenv(name, value)
    assets = [
        upload(world, name, "a.txt", f"Note pods-{number}.".encode(), "text/plain").asset
        for number, name in enumerate(names)
    ]
    records = [MessageRecord("by.hand", 0, number, 0, b"", b"") for number in range(len(assets))]
    world.metadata_store.register([Arrival(*pair) for pair in zip(assets, records, strict=True)])
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(MEDIA_ASSETS, names)
        job = build_defs().resolve_job_def(ENRICH_MEDIA_JOB)
        assert job.execute_in_process(instance=instance, tags=range_run_tags(names)).success


def results(world, names) -> list:
    """Derivatives without whose they are and what they took."""
    rows = world.metadata_store.derivatives(names)
    return [replace(row, asset_id="", fence=0, seconds=0.0) for row in rows]


def test_a_pod_per_workload_gives_the_same_even_if_one_is_killed(tmp_path, monkeypatch):
    with throwaway_stack(tmp_path / "stack") as stack, LocalCluster(PODS, tmp_path) as cluster:
        world = World(stack.settings())
        alone = ["alone-0"]
        enrich_in_process(stack, world, alone, monkeypatch)
        instance = production_instance(cluster, tmp_path)
        variables = {**PODS, **QUICK}
        with running_dagster(stack, free_port(), variables=variables, instance=instance) as api:
            cluster.environment |= dagster_environment(stack, api.url, instance)
            cluster.next_pod()  # the run's own
            cluster.next_pod(environment=AFTER_CLAIM, reason="OOMKilled")
            names = ingest(world, "pods", 1)
            assert_enriched_once(world, names)
            run, killed, *_ = cluster.pods.values()
            assert killed.job["metadata"]["labels"]["dagster/op"] in ("text", "thumbnails")
            assert killed.code == 137
            wait_until(lambda: ended_with(api, run_of(run))[0] == "FAILURE", "the run's end")
            wait_until(lambda: retried(api, run) == "SUCCESS", "the retry's end")
            assert {one[0] for one in ledger(stack, names).values()} == {"complete"}
        assert results(world, names) == results(world, alone)
        assert len(results(world, names)) == 2
        steps = {
            pod.job["metadata"]["labels"].get("dagster/op"): pod.job
            for pod in cluster.pods.values()
        }
        assert {"text", "thumbnails", "enrichment"} <= set(steps)
        (container,) = steps["thumbnails"]["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert cluster.refused == []
