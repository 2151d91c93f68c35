"""The manifests: rendered by Helm itself, valid for Kubernetes, and within our own rules."""

import os
import subprocess
import sys
from pathlib import Path

import helm_python as helm
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "media-pipeline"
DIGEST = "sha256:" + "ab" * 32
KUBERNETES = "1.30"
VALUES = ("values.yaml", "values-small.yaml", "values-gpu.yaml", "values-kind.yaml")


def rendered(name: str, **more) -> list[dict]:
    values = {
        **yaml.safe_load((CHART / name).read_text()),
        "image": {"repository": "registry.invalid/media-pipeline", "digest": DIGEST},
        **more,
    }
    with helm.Chart.load(str(CHART)) as chart:
        files = chart.render(values, name="media", namespace="media")
    documents = [one for text in files.values() for one in yaml.safe_load_all(text) if one]
    assert documents
    return documents


@pytest.fixture(params=VALUES, ids=str)
def manifests(request):
    return rendered(request.param)


def kinds(manifests, kind: str) -> dict[str, dict]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def pod_specs(manifests) -> dict[str, dict]:
    return {
        f"{one['kind']}/{one['metadata']['name']}": one["spec"]["template"]["spec"]
        for one in manifests
        if one["kind"] in ("Deployment", "Job")
    }


def test_every_manifest_is_valid_for_kubernetes(manifests):
    for one in manifests:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


def test_containers_keep_to_the_rules(manifests):
    for name, spec in pod_specs(manifests).items():
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", name
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert "privileged" not in security, name
            assert set(container["resources"]) == {"requests", "limits"}, name
            assert container["image"].endswith(f"@{DIGEST}"), name


def test_no_secret_has_its_value_here(manifests):
    assert not kinds(manifests, "Secret")
    for spec in pod_specs(manifests).values():
        for container in spec["containers"]:
            for variable in container.get("env", []):
                name = variable["name"].lower()
                assert not any(word in name for word in ("token", "password", "secret_key")), name


def test_only_who_launches_runs_may_speak_to_kubernetes(manifests):
    read_only = "--read-only" in str(kinds(manifests, "Deployment")["media-pipeline-webserver"])
    bound = {
        one["name"] for one in kinds(manifests, "RoleBinding")["media-run-launcher"]["subjects"]
    }
    assert "media-code" not in bound
    assert ("media-webserver" in bound) is not read_only
    for name, spec in pod_specs(manifests).items():
        assert spec["automountServiceAccountToken"] is (spec["serviceAccountName"] in bound), name
    allowed = {
        (resource, verb)
        for rule in kinds(manifests, "Role")["media-run-launcher"]["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert ("jobs", "create") in allowed
    assert not {one for one in allowed if "*" in one or one[0] in ("secrets", "pods/exec")}


def test_the_instance_is_the_tested_one_with_this_installations_sizes():
    tested = yaml.safe_load((ROOT / "dagster_home" / "dagster.k8s.yaml").read_text())
    config = kinds(rendered("values-small.yaml"), "ConfigMap")["media-pipeline-dagster-instance"]
    instance = yaml.safe_load(config["data"]["dagster.yaml"])
    assert instance["concurrency"]["runs"]["max_concurrent_runs"] == 2
    for part in ("run_monitoring", "run_retries", "storage", "retention", "run_queue"):
        assert instance[part] == tested[part]
    given, own = instance["run_launcher"]["config"], tested["run_launcher"]["config"]
    assert given["run_k8s_config"]["job_spec_config"] == own["run_k8s_config"]["job_spec_config"]
    assert given["run_k8s_config"]["pod_spec_config"]["automount_service_account_token"] is False


def test_the_rendered_instance_loads_in_dagster(tmp_path, monkeypatch):
    from dagster._core.instance.config import dagster_instance_config

    config = kinds(rendered("values-gpu.yaml"), "ConfigMap")["media-pipeline-dagster-instance"]
    (tmp_path / "dagster.yaml").write_text(config["data"]["dagster.yaml"])
    found, _ = dagster_instance_config(str(tmp_path))
    assert found["run_launcher"]["class"] == "K8sRunLauncher"
    launcher = found["run_launcher"]["config"]["run_k8s_config"]
    assert launcher["pod_spec_config"]["automount_service_account_token"] is True


def test_moderation_alone_asks_for_a_gpu():
    import json

    from media_pipeline.settings import settings_of

    config = kinds(rendered("values-gpu.yaml"), "ConfigMap")["media-pipeline-settings"]["data"]
    settings = settings_of({key: value for key, value in config.items() if "MEDIA_" in key
                            and key != "MEDIA_PIPELINE_NAMESPACE"})  # fmt: skip
    assert settings.runs.executor == "k8s_job"
    assert list(settings.runs.step_config) == ["moderation"]
    assert "nvidia.com/gpu" in json.dumps(settings.runs.step_config)
    assert settings.moderation.device == "cuda"


def test_everything_is_denied_that_is_not_allowed():
    policies = kinds(rendered("values.yaml"), "NetworkPolicy")
    deny = policies["media-pipeline-default-deny"]["spec"]
    assert deny["podSelector"] == {}
    assert set(deny["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in deny
    assert not kinds(rendered("values-kind.yaml"), "NetworkPolicy")


def test_an_image_without_a_digest_is_refused():
    with pytest.raises(helm.HelmError, match="digest"):
        rendered("values.yaml", image={"repository": "registry.invalid/media-pipeline"})


def run(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_is_clean():
    run("hadolint", "deploy/docker/Dockerfile")


def test_plain_yaml_is_clean():
    rules = "{extends: default, rules: {line-length: {max: 120}, document-start: disable,"
    rules += " braces: {max-spaces-inside: 1}, comments: {min-spaces-from-content: 2}}}"
    files = [CHART / name for name in VALUES]
    files += sorted((ROOT / "dagster_home").glob("*.yaml"))
    run("yamllint", "-d", rules, *map(str, files))
