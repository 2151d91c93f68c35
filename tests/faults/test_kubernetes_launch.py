"""Runs as Jobs: whatever Kubernetes does to a pod, every media asset ends exactly once.

Sensor, queue and K8sRunLauncher are real, and so is what the pod's command does; only the
Kubernetes API is played by `tests.fakes.kubernetes`, which runs the command as a process.
"""

import pytest
import yaml

from media_pipeline.cli.dagster_process import dagster_environment, running_dagster
from media_pipeline.cli.world import World
from media_pipeline.local_stack.ports import free_port
from media_pipeline.local_stack.stack import embedded_stack
from tests.e2e.pipeline import wait_until
from tests.fakes.kubernetes import LocalCluster
from tests.faults.kubernetes_runs import LIGHT, assert_enriched_once, ingest, production_instance

pytestmark = pytest.mark.timeout(420)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with embedded_stack(tmp_path_factory.mktemp("k8s")) as running:
        yield running


@pytest.fixture(scope="module")
def world(stack):
    return World(stack.settings())


@pytest.fixture(scope="module")
def cluster(stack, tmp_path_factory):
    directory = tmp_path_factory.mktemp("cluster")
    with LocalCluster(LIGHT, directory) as running:
        yield running
        assert running.refused == []


@pytest.fixture(scope="module")
def dagster(stack, world, cluster, tmp_path_factory):
    instance = production_instance(cluster, tmp_path_factory.mktemp("instance"))
    with running_dagster(stack, free_port(), variables=LIGHT, instance=instance) as api:
        cluster.environment |= dagster_environment(stack, api.url, instance)
        yield api


def new_pod(cluster, known: set[str]):
    """The pod of the next Job; a tick between two messages makes two Jobs of them."""
    wait_until(lambda: set(cluster.pods) - known, "a Job")
    return next(pod for name, pod in cluster.pods.items() if name not in known)


def run_statuses(dagster, pods) -> list[str]:
    ids = [pod.name.removeprefix("dagster-run-") for pod in pods]
    found = dagster.query(
        "query($f:RunsFilter!){runsOrError(filter:$f){... on Runs{results{runId status}}}}",
        {"f": {"runIds": ids}},
    )["runsOrError"]["results"]
    statuses = {one["runId"]: one["status"] for one in found}
    return [statuses[one] for one in ids]


def test_a_run_is_a_job_that_enriches(world, dagster, cluster):
    known = set(cluster.pods)
    names = ingest(world, "plain")
    pod = new_pod(cluster, known)
    assert_enriched_once(world, names)
    wait_until(lambda: pod.code is not None, "the pod's end")
    wait_until(lambda: run_statuses(dagster, [pod]) == ["SUCCESS"], "the run's end")
    job, spec = pod.job["spec"], pod.job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert job["backoffLimit"] == 0
    assert job["activeDeadlineSeconds"] == 7200
    assert spec["automountServiceAccountToken"] is False
    assert spec["priorityClassName"] == "media-live"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["resources"]["limits"]["memory"] == "6Gi"


def test_no_secret_stands_in_a_job(stack, cluster):
    secrets = [stack.s3_secret_key, stack.ledger_token, stack.vault_token, stack.jwt_secret]
    secrets.append(stack.vault_secret_id_file.read_text())
    secrets.append(stack.dagster_postgres_url.split(":")[2].split("@")[0])
    assert cluster.pods
    for pod in cluster.pods.values():
        text = yaml.safe_dump(pod.job)
        assert not [one for one in secrets if one in text]


def test_a_pod_that_is_killed_is_retried_and_nothing_is_told_twice(world, dagster, cluster):
    known = set(cluster.pods)
    names = ingest(world, "killed", 40)
    pod = new_pod(cluster, known)
    wait_until(lambda: run_statuses(dagster, [pod]) == ["STARTED"], "the start")
    cluster.kill_pod(pod.name)
    assert_enriched_once(world, names)
    assert pod.code == 137
    assert run_statuses(dagster, [pod]) == ["FAILURE"]


def test_a_pod_that_never_starts_is_given_up_and_retried(world, dagster, cluster):
    known = set(cluster.pods)
    cluster.next_pod(waiting="ErrImagePull")
    names = ingest(world, "no-image")
    pod = new_pod(cluster, known)
    assert_enriched_once(world, names)
    assert run_statuses(dagster, [pod]) == ["FAILURE"]
    assert pod.code is None, "it never ran"


def test_an_api_that_is_away_makes_a_zombie_that_does_no_harm(world, dagster, cluster):
    """Run monitoring takes a live run for dead and retries it; later the first one goes on."""
    known = set(cluster.pods)
    names = ingest(world, "zombie", 60)
    zombie = new_pod(cluster, known)
    wait_until(lambda: run_statuses(dagster, [zombie]) == ["STARTED"], "the start")
    cluster.freeze_pod(zombie.name)
    with cluster.away():
        wait_until(lambda: run_statuses(dagster, [zombie]) == ["FAILURE"], "the monitor's verdict")
    second = new_pod(cluster, known | {zombie.name})
    assert_enriched_once(world, names)
    wait_until(lambda: run_statuses(dagster, [second]) == ["SUCCESS"], "the second run's end")
    rows = world.metadata_store.derivatives(names)
    cluster.freeze_pod(zombie.name, thaw=True)
    wait_until(lambda: zombie.code is not None, "the zombie's end")
    assert_enriched_once(world, names)
    assert world.metadata_store.derivatives(names) == rows, "the zombie was fenced out"
