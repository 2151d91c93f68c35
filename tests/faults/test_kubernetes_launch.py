"""Runs as Jobs: whatever Kubernetes does to a pod, every media asset ends exactly once.

Sensor, queue and K8sRunLauncher are real, and so is what the pod's command does; only the
Kubernetes API is played by `tests.fakes.kubernetes`, which runs the command as a process.
"""

import pytest
import yaml

from media_pipeline.cli.dagster_process import dagster_environment, running_dagster
from media_pipeline.cli.world import World
from media_pipeline.local_stack.ports import free_port
from tests.e2e.pipeline import wait_until
from tests.fakes.kubernetes import LocalCluster
from tests.faults.kubernetes_runs import (
    AFTER_CLAIM,
    LIGHT,
    QUICK,
    STANDS_STILL,
    assert_enriched_once,
    ended_with,
    grow_old,
    ingest,
    ledger,
    production_instance,
    retried,
    run_of,
)
from tests.stacks import throwaway_stack

pytestmark = pytest.mark.timeout(420)
#: For a pod: it stands still as soon as it has claimed.
STILL = {**AFTER_CLAIM, "PYTHONPATH": STANDS_STILL}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with throwaway_stack(tmp_path_factory.mktemp("k8s")) as running:
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
    variables = {**LIGHT, **QUICK}
    with running_dagster(stack, free_port(), variables=variables, instance=instance) as api:
        cluster.environment |= dagster_environment(stack, api.url, instance)
        yield api


def new_pod(cluster, known: set[str]):
    """The pod of the next Job; a tick between two messages makes two Jobs of them."""
    wait_until(lambda: set(cluster.pods) - known, "a Job")
    return next(pod for name, pod in cluster.pods.items() if name not in known)


def status(dagster, pod) -> str:
    return ended_with(dagster, run_of(pod))[0]


def test_a_run_is_a_job_that_enriches(stack, world, dagster, cluster):
    known = set(cluster.pods)
    names = ingest(world, "plain")
    pod = new_pod(cluster, known)
    assert_enriched_once(world, names)
    wait_until(lambda: pod.code is not None, "the pod's end")
    wait_until(lambda: status(dagster, pod) == "SUCCESS", "the run's end")
    assert set(ledger(stack, names).values()) == {("complete", 1, 0)}
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


def launched(world, cluster, prefix: str, **fate):
    """Media assets whose run's pod fares like this, and that pod."""
    known = set(cluster.pods)
    cluster.next_pod(**fate)
    names = ingest(world, prefix)
    return names, new_pod(cluster, known)


def test_pods_that_are_killed_are_retried_and_nothing_is_told_twice(stack, world, dagster, cluster):
    """Both stand still before one is killed: its retry could take the fate of the other."""
    reasons = {"killed": "Error", "memory": "OOMKilled"}
    pods = {
        reason: launched(world, cluster, prefix, environment=STILL, reason=reason)
        for prefix, reason in reasons.items()
    }
    for names, _ in pods.values():
        wait_until(lambda names=names: claimed(stack, names), "the claim")
    for _, pod in pods.values():
        cluster.kill_pod(pod.name)
    for reason, (names, pod) in pods.items():
        assert_enriched_once(world, names)
        assert pod.code == 137
        said, message = ended_with(dagster, run_of(pod))
        assert said == "FAILURE"
        assert f"Terminated with exit code 137: {reason}" in message
        # What its run had not claimed yet was never lost.
        rows = ledger(stack, names)
        assert set(rows.values()) <= {("complete", 2, 1), ("complete", 1, 0)}
        assert ("complete", 2, 1) in rows.values()
        wait_until(lambda pod=pod: retried(dagster, pod) == "SUCCESS", "the retry's end")


def test_pods_that_never_start_are_given_up_and_retried(stack, world, dagster, cluster):
    reasons = {"no-image": "ErrImagePull", "no-room": "ContainerCreating"}
    pods = {
        reason: launched(world, cluster, prefix, waiting=reason)
        for prefix, reason in reasons.items()
    }
    for names, pod in pods.values():
        wait_until(lambda pod=pod: status(dagster, pod) == "STARTING", "the launch")
        assert set(ledger(stack, names).values()) == {("registered", 0, 0)}
        grow_old(stack, run_of(pod))
    for reason, (names, pod) in pods.items():
        assert_enriched_once(world, names)
        said, message = ended_with(dagster, run_of(pod))
        assert said == "FAILURE"
        assert "longer than 600 seconds to start" in message
        assert f"Waiting: {reason}" in message
        assert pod.code is None, "it never ran"
        assert set(ledger(stack, names).values()) == {("complete", 1, 0)}
        wait_until(lambda pod=pod: retried(dagster, pod) == "SUCCESS", "the retry's end")


def test_a_run_waits_for_an_api_that_is_away_when_it_is_launched(stack, world, dagster, cluster):
    known = set(cluster.pods)
    with cluster.away():
        turned_away = cluster.turned_away
        names = ingest(world, "away")
        wait_until(lambda: cluster.turned_away > turned_away, "an attempt to make the Job")
    pod = new_pod(cluster, known)
    assert_enriched_once(world, names)
    wait_until(lambda: status(dagster, pod) == "SUCCESS", "the run's end")
    assert set(ledger(stack, names).values()) == {("complete", 1, 0)}


def test_an_api_that_is_away_makes_a_zombie_that_does_no_harm(stack, world, dagster, cluster):
    """Run monitoring takes live runs for dead and retries them; later the first ones go on: one
    while its successor works, one after it."""
    early, late = (
        launched(world, cluster, prefix, environment=STILL) for prefix in ("early", "late")
    )
    for names, zombie in (early, late):
        wait_until(lambda names=names: claimed(stack, names), "the claim; then it stands still")
        wait_until(lambda pod=zombie: status(dagster, pod) == "STARTED", "the start")
    with cluster.away():
        for _, zombie in (early, late):
            wait_until(lambda pod=zombie: status(dagster, pod) == "FAILURE", "the verdict")
    wait_until(lambda: claims(stack, early[0]) == 2, "the claim of its successor")
    cluster.freeze_pod(early[1].name, thaw=True)
    for names, zombie in (early, late):
        wait_until(lambda pod=zombie: retried(dagster, pod) == "SUCCESS", "the second run")
        if zombie is late[1]:
            cluster.freeze_pod(zombie.name, thaw=True)
        wait_until(lambda pod=zombie: pod.code is not None, "the zombie's end")
        assert_enriched_once(world, names)
        assert {one for one, _, _ in ledger(stack, names).values()} == {"complete"}
        assert claims(stack, names) == 2, "by both"


def claims(stack, names) -> int:
    return max(attempts for _, attempts, _ in ledger(stack, names).values())


def claimed(stack, names) -> bool:
    return any(one == "claimed" for one, _, _ in ledger(stack, names).values())
