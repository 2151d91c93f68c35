"""The manifests: rendered by Helm itself, valid for Kubernetes, and within our own rules."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import helm_python as helm
import pytest
import yaml

from media_pipeline.settings import settings_of
from tests.integration.chart import (
    CHART,
    DIGEST,
    IMAGE,
    ROOT,
    kinds,
    pod_specs,
    rendered_from,
    secret_fields,
    settings_in,
)
from tests.integration.manifest_schemas import is_custom, require_valid

VALUES = ("values.yaml", "values-small.yaml", "values-gpu.yaml", "values-kind.yaml")
PROXY_DIGEST = "sha256:" + "cd" * 32
GPU_DIGEST = "sha256:" + "9b" * 32
RULES = "media-processing.rules.yml"
#: Everything that is off by default.
EVERYTHING = {
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "keda": {"enabled": True},
    "vaultAuth": {"enabled": True},
    "verify": {"enabled": True},
    "models": {"registry": '{"schema": 1, "current": null}'},
    "webserver": {
        "readOnly": False,
        "authProxy": {
            "enabled": True,
            "image": {"digest": PROXY_DIGEST},
            "secret": "media-oauth2-proxy",
            "args": ["--provider=oidc", "--oidc-issuer-url=https://login.invalid"],
        },
    },
}


def rendered(name: str, **more) -> list[dict]:
    if name == "values-gpu.yaml":
        more.setdefault("gpu", {"steps": ["moderation"], "image": {"digest": GPU_DIGEST}})
    return rendered_from(CHART / name, **{"image": IMAGE, **more})


@cache
def chart_of(name: str, everything: bool) -> list[dict]:
    return rendered(name, **(EVERYTHING if everything else {}))


@pytest.fixture(params=[*VALUES, "everything"], ids=str)
def manifests(request):
    everything = request.param == "everything"
    return chart_of("values.yaml" if everything else request.param, everything)


def test_every_manifest_is_valid_for_kubernetes(manifests):
    for one in manifests:
        require_valid(one)


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
            assert container["image"].endswith((f"@{DIGEST}", f"@{PROXY_DIGEST}")), name
            for kind in ("requests", "limits"):
                assert "memory" in container["resources"][kind], name
            assert "cpu" in container["resources"]["requests"], name
        for volume in spec["volumes"]:
            assert set(volume) - {"name"} <= {"configMap", "emptyDir", "projected"}, name


def test_run_pods_keep_to_the_same_rules(manifests):
    config = kinds(manifests, "ConfigMap")["media-pipeline-dagster-instance"]["data"]
    launcher = yaml.safe_load(config["dagster.yaml"])["run_launcher"]["config"]
    pod = launcher["run_k8s_config"]["pod_spec_config"]
    container = launcher["run_k8s_config"]["container_config"]
    pods_launch_pods = settings_in(manifests).runs.executor == "k8s_job"
    assert pod["automount_service_account_token"] is pods_launch_pods
    assert pod["security_context"]["run_as_user"] == 10001
    assert container["security_context"]["read_only_root_filesystem"] is True
    assert container["security_context"]["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]
    assert launcher["service_account_name"] in kinds(manifests, "ServiceAccount")
    assert "job_image" not in launcher, "the code server's digest decides"


def test_no_secret_has_its_value_here(manifests):
    assert not kinds(manifests, "Secret")
    settings = kinds(manifests, "ConfigMap")["media-pipeline-settings"]["data"]
    secret = {f"MEDIA_PIPELINE_{path}" for path in secret_fields()}
    assert not secret & set(settings)
    for spec in pod_specs(manifests).values():
        for container in spec["containers"]:
            for variable in container.get("env", []):
                name = variable["name"].lower()
                secret = any(word in name for word in ("token", "password", "secret_key"))
                assert ("valueFrom" in variable) is secret, name


def test_only_who_launches_runs_may_speak_to_kubernetes(manifests):
    read_only = "--read-only" in str(kinds(manifests, "Deployment")["media-pipeline-webserver"])
    bound = {
        one["name"] for one in kinds(manifests, "RoleBinding")["media-run-launcher"]["subjects"]
    }
    assert "media-code" not in bound
    assert ("media-webserver" in bound) is not read_only
    for name, spec in pod_specs(manifests).items():
        account = spec.get("serviceAccountName", "default")
        assert spec["automountServiceAccountToken"] is (account in bound), name
    allowed = {
        (resource, verb)
        for rule in kinds(manifests, "Role")["media-run-launcher"]["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert ("jobs", "create") in allowed
    assert not {one for one in allowed if "*" in one or one[0] in ("secrets", "pods/exec")}


def test_the_chart_carries_the_tested_instance():
    """A copy, no link: not every tool that fetches charts from a repository follows links."""
    own, tested = CHART / "files" / "dagster.yaml", ROOT / "dagster_home" / "dagster.k8s.yaml"
    assert own.read_text() == tested.read_text(), f"cp {tested} {own}"
    assert not [path for path in CHART.rglob("*") if path.is_symlink()]


def test_the_chart_carries_the_tested_rules():
    """Helm reads files of the chart alone; what Compose mounts and promtool tests is the other."""
    own, tested = CHART / "files" / RULES, ROOT / "deploy" / "monitoring" / "prometheus" / RULES
    assert own.read_text() == tested.read_text(), f"cp {tested} {own}"


def test_the_prometheus_operator_gets_the_rules_as_they_are():
    manifests = chart_of("values.yaml", True)
    (rule,) = kinds(manifests, "PrometheusRule").values()
    tested = yaml.safe_load((ROOT / "deploy" / "monitoring" / "prometheus" / RULES).read_text())
    assert rule["spec"] == tested
    assert "{{ $labels.code }}" in str(rule["spec"]), "Prometheus fills them in, not Helm"
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    # Alerts of a silent exporter know the name that the ServiceMonitor gives its job.
    (silent,) = [one for group in tested["groups"] for one in group["rules"]
                 if one.get("alert") == "MediaExporterDown"]  # fmt: skip
    (job,) = {*re.findall(r'job=~"([^"]+)"', silent["expr"])}
    (monitor,) = kinds(manifests, "ServiceMonitor").values()
    assert monitor["metadata"]["name"] in kinds(manifests, "Service")
    assert re.fullmatch(job, monitor["metadata"]["name"])
    assert not kinds(chart_of("values.yaml", False), "PrometheusRule")


def test_models_are_mounted_where_the_setting_says():
    manifests = chart_of("values.yaml", True)
    file = settings_in(manifests).moderation.registry_file
    directory, _, name = file.rpartition("/")
    registry = kinds(manifests, "ConfigMap")["media-pipeline-models"]["data"]
    assert json.loads(registry[name]) == {"schema": 1, "current": None}
    code = pod_specs(manifests)["Deployment/media-pipeline-code"]["containers"][0]
    assert directory in [one["mountPath"] for one in code["volumeMounts"]]
    config = kinds(manifests, "ConfigMap")["media-pipeline-dagster-instance"]["data"]
    pods = yaml.safe_load(config["dagster.yaml"])["run_launcher"]["config"]["run_k8s_config"]
    assert directory in [one["mount_path"] for one in pods["container_config"]["volume_mounts"]]
    assert {"name": "media-pipeline-models"} in [
        one.get("config_map") for one in pods["pod_spec_config"]["volumes"]
    ]
    assert settings_in(chart_of("values.yaml", False)).moderation.registry_file is None


def test_the_instance_is_the_tested_one_with_this_installations_sizes():
    tested = yaml.safe_load((ROOT / "dagster_home" / "dagster.k8s.yaml").read_text())
    config = kinds(chart_of("values-small.yaml", False), "ConfigMap")[
        "media-pipeline-dagster-instance"
    ]
    instance = yaml.safe_load(config["data"]["dagster.yaml"])
    assert instance["concurrency"]["runs"]["max_concurrent_runs"] == 2
    given, own = (
        one["concurrency"]["runs"]["tag_concurrency_limits"] for one in (instance, tested)
    )
    assert given == [{**one, "limit": 1} for one in own]
    for part in ("run_monitoring", "run_retries", "storage", "retention", "run_queue"):
        assert instance[part] == tested[part]
    given, own = instance["run_launcher"]["config"], tested["run_launcher"]["config"]
    assert given["run_k8s_config"]["job_spec_config"] == own["run_k8s_config"]["job_spec_config"]
    assert given["run_k8s_config"]["pod_spec_config"]["automount_service_account_token"] is False


def test_the_rendered_instance_loads_in_dagster(tmp_path, monkeypatch):
    from dagster._core.instance.config import dagster_instance_config

    config = kinds(chart_of("values-gpu.yaml", False), "ConfigMap")[
        "media-pipeline-dagster-instance"
    ]
    (tmp_path / "dagster.yaml").write_text(config["data"]["dagster.yaml"])
    found, _ = dagster_instance_config(str(tmp_path))
    assert found["run_launcher"]["class"] == "K8sRunLauncher"
    launcher = found["run_launcher"]["config"]["run_k8s_config"]
    assert launcher["pod_spec_config"]["automount_service_account_token"] is True


def test_moderation_alone_asks_for_a_gpu():
    settings = settings_in(chart_of("values-gpu.yaml", False))
    assert settings.runs.executor == "k8s_job"
    assert list(settings.runs.step_config) == ["moderation"]
    assert "nvidia.com/gpu" in json.dumps(settings.runs.step_config)
    assert settings.moderation.device == "cuda"


def gpu_pod(manifests, settings) -> tuple[dict, dict]:
    """The container of moderation's pod as the step handler puts it together, and its variables."""
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import (
        DagsterK8sJobConfig,
        UserDefinedDagsterK8sConfig,
        construct_dagster_k8s_job,
    )

    code = pod_specs(manifests)["Deployment/media-pipeline-code"]["containers"][0]
    (context,) = [one["value"] for one in code["env"] if one["name"] == "DAGSTER_CONTAINER_CONTEXT"]
    own = UserDefinedDagsterK8sConfig.from_dict(settings.runs.step_config["moderation"])
    both = K8sContainerContext.create_from_config(json.loads(context)).merge(
        K8sContainerContext(run_k8s_config=own)
    )
    shared = DagsterK8sJobConfig(job_image=code["image"], dagster_home="/opt/dagster/dagster_home")
    job = construct_dagster_k8s_job(shared, ["dagster"], "step", both.run_k8s_config).to_dict()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    # As Kubernetes reads them: of two of one name the last counts.
    return container, {one["name"]: one["value"] for one in container["env"]}


def test_moderation_alone_runs_the_image_with_cuda():
    manifests = chart_of("values-gpu.yaml", False)
    container, variables = gpu_pod(manifests, settings_in(manifests))
    assert container["image"] == f"{IMAGE['repository']}@{GPU_DIGEST}"
    assert variables["MEDIA_PIPELINE_IMAGE_DIGEST"] == GPU_DIGEST, "dead letters name their image"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    for spec in pod_specs(manifests).values():
        assert all(one["image"].endswith(f"@{DIGEST}") for one in spec["containers"])
    elsewhere = {"repository": "registry.invalid/media-cuda", "digest": GPU_DIGEST}
    both = rendered("values-gpu.yaml", gpu={"steps": ["moderation"], "image": elsewhere})
    container, _ = gpu_pod(both, settings_in(both))
    assert container["image"] == f"registry.invalid/media-cuda@{GPU_DIGEST}"


def test_a_gpu_without_the_image_for_it_is_refused():
    with pytest.raises(helm.HelmError, match=r"gpu\.image\.digest is required"):
        rendered("values-gpu.yaml", gpu={"steps": ["moderation"]})
    with pytest.raises(helm.HelmError, match="k8s_job"):
        rendered("values.yaml", gpu={"steps": ["moderation"], "image": {"digest": GPU_DIGEST}})
    with pytest.raises(helm.HelmError, match="/gpu/steps/0"):
        rendered("values.yaml", gpu={"steps": ["moderatoin"]})


def test_a_candidate_of_another_release_brings_its_own_image_with_cuda():
    candidate = {"share": 10, "image": {"digest": "sha256:" + "ef" * 32}}
    with pytest.raises(helm.HelmError, match=r"canary\.gpuImage\.digest is required"):
        rendered("values-gpu.yaml", canary=candidate)
    candidate["gpuImage"] = {"digest": "sha256:" + "fe" * 32}
    for canary, digest in (
        (candidate, candidate["gpuImage"]["digest"]),
        ({"share": 10, "settings": {}}, GPU_DIGEST),
    ):
        manifests = rendered("values-gpu.yaml", canary=canary)
        maps = kinds(manifests, "ConfigMap")
        over = maps["media-pipeline-canary-settings"]["data"]
        name = "MEDIA_PIPELINE_RUNS__STEP_CONFIG"
        container, _ = gpu_pod(manifests, settings_of({name: over[name]}))
        assert container["image"] == f"{IMAGE['repository']}@{digest}"
        container, _ = gpu_pod(manifests, settings_in(manifests))
        assert container["image"] == f"{IMAGE['repository']}@{GPU_DIGEST}"


def test_migrations_come_first_and_see_the_owners_secret_alone(manifests):
    job = kinds(manifests, "Job")["media-pipeline-migrations"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["command"] == ["media-pipeline", "migrate"]
    assert container["envFrom"] == [{"secretRef": {"name": "media-pipeline-ledger-owner"}}]
    # Nothing of the release is there yet when it runs for the first time.
    assert "serviceAccountName" not in spec
    assert "priorityClassName" not in spec
    for name, other in pod_specs(manifests).items():
        if name != "Job/media-pipeline-migrations":
            assert "media-pipeline-ledger-owner" not in str(other), name


def test_commands_of_containers_exist(manifests):
    import typer

    from media_pipeline.cli.main import app

    commands = typer.main.get_command(app).commands
    ours = [
        container["command"]
        for spec in pod_specs(manifests).values()
        for container in spec["containers"]
        if container.get("command", [""])[0] == "media-pipeline"
    ]
    assert len(ours) >= 2
    for _, command, *words in ours:
        known = {option for one in commands[command].params for option in one.opts}
        assert {word for word in words if word.startswith("--")} <= known, command


def test_one_of_relay_and_sensor_publishes():
    for mode in ("process", "sensor", "elsewhere"):
        manifests = rendered("values.yaml", relay={"mode": mode})
        assert settings_in(manifests).batch.outbox_relay == mode
        running = "media-pipeline-relay" in kinds(manifests, "Deployment")
        assert running is (mode == "process")


def test_live_pods_go_before_backfills(manifests):
    classes = settings_in(manifests).runs.priority_classes
    found = {name: one["value"] for name, one in kinds(manifests, "PriorityClass").items()}
    assert found[classes["live"]] > found[classes["backfill"]]
    config = kinds(manifests, "ConfigMap")["media-pipeline-dagster-instance"]["data"]
    launcher = yaml.safe_load(config["dagster.yaml"])["run_launcher"]["config"]
    pod = launcher["run_k8s_config"]["pod_spec_config"]
    assert pod["priority_class_name"] == classes["live"]
    for one in kinds(manifests, "Deployment").values():
        assert one["spec"]["template"]["spec"]["priorityClassName"] == classes["live"]
    none = rendered("values.yaml", priorityClasses={"use": False, "create": False})
    assert settings_in(none).runs.priority_classes == {}
    assert "priority" not in str(pod_specs(none)).lower()


def test_pods_of_runs_are_not_evicted_and_others_never_hold_a_node(manifests):
    budgets = {name: one["spec"] for name, one in kinds(manifests, "PodDisruptionBudget").items()}
    (expression,) = budgets.pop("media-pipeline-runs")["selector"]["matchExpressions"]
    assert set(expression["values"]) == {"run_worker", "step_worker"}
    for name, spec in budgets.items():
        assert spec["maxUnavailable"] >= 1, name


def test_who_may_change_things_passes_the_auth_proxy():
    manifests = chart_of("values.yaml", True)
    spec = pod_specs(manifests)["Deployment/media-pipeline-webserver"]
    webserver, proxy = spec["containers"]
    assert webserver["command"][:3] == ["dagster-webserver", "-h", "127.0.0.1"]
    assert "ports" not in webserver
    assert "--upstream=http://127.0.0.1:3000" in proxy["args"]
    assert "--provider=oidc" in proxy["args"]
    assert proxy["envFrom"] == [{"secretRef": {"name": "media-oauth2-proxy"}}]
    (port,) = kinds(manifests, "Service")["media-pipeline-webserver"]["spec"]["ports"]
    assert port["targetPort"] == proxy["ports"][0]["name"] == "main"
    policy = kinds(manifests, "NetworkPolicy")["media-pipeline-webserver"]["spec"]
    assert policy["ingress"][0]["ports"][0]["port"] == proxy["ports"][0]["containerPort"] == 4180


def test_a_ui_that_may_change_things_without_a_login_is_refused():
    with pytest.raises(helm.HelmError, match="authProxy"):
        rendered("values.yaml", webserver={"readOnly": False})
    with pytest.raises(helm.HelmError, match="digest"):
        rendered("values.yaml", webserver={"authProxy": {"enabled": True, "secret": "some"}})


def environment_of(container) -> dict[str, str]:
    return {one["name"]: one.get("value") for one in container["env"]}


def test_vault_knows_pods_by_a_token_made_for_it_alone():
    manifests = chart_of("values.yaml", True)
    settings = settings_in(manifests).vault
    assert (settings.auth, settings.mode) == ("kubernetes", "workload_identity")
    directory, _, file = settings.jwt_file.rpartition("/")
    roles = yaml.safe_load((CHART / "values.yaml").read_text())["vaultAuth"]["roles"]
    policies = {path.stem for path in (ROOT / "deploy" / "vault" / "policies").glob("*.hcl")}
    assert set(roles.values()) <= policies
    for component in ("webserver", "daemon", "code", "relay", "exporter", "verify"):
        kind = "Job" if component == "verify" else "Deployment"
        spec = pod_specs(manifests)[f"{kind}/media-pipeline-{component}"]
        tokens = [one for one in spec["volumes"] if "projected" in one]
        container = spec["containers"][0]
        if component not in roles:
            assert not tokens, f"{component} asks for no credentials"
            continue
        (source,) = tokens[0]["projected"]["sources"]
        assert source["serviceAccountToken"] == {
            "path": file, "audience": "vault", "expirationSeconds": 3600,
        }  # fmt: skip
        mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
        assert mounts[tokens[0]["name"]] == directory
        assert_is_known_as(roles[component], environment_of(container))


def assert_is_known_as(role: str, variables: dict[str, str]) -> None:
    known = settings_of({key: value for key, value in variables.items()
                         if "__ROLE" in key or "_ROLE" in key})  # fmt: skip
    assert known.vault.role == known.vault.identity_role == role
    assert known.object_store.sts_role_arn == f"arn:aws:iam::role/{role}"


def test_run_pods_have_an_identity_of_their_own():
    manifests = chart_of("values.yaml", True)
    config = kinds(manifests, "ConfigMap")["media-pipeline-dagster-instance"]["data"]
    pods = yaml.safe_load(config["dagster.yaml"])["run_launcher"]["config"]["run_k8s_config"]
    container, pod = pods["container_config"], pods["pod_spec_config"]
    assert pod["automount_service_account_token"] is False
    (mount,) = [one for one in container["volume_mounts"] if one["name"] == "vault-identity"]
    assert f"{mount['mount_path']}/token" == settings_in(manifests).vault.jwt_file
    (source,) = [
        source for one in pod["volumes"] for source in one.get("projected", {}).get("sources", [])
    ]
    assert source["service_account_token"]["audience"] == "vault"
    assert_is_known_as("media-worker", environment_of(container))


def test_a_sensor_that_relays_needs_the_relays_rights():
    both = {"vaultAuth": {"enabled": True}, "relay": {"mode": "sensor"}}
    with pytest.raises(helm.HelmError, match="media-pipeline"):
        rendered("values.yaml", **both)
    both["vaultAuth"]["roles"] = {"code": "media-pipeline"}
    assert rendered("values.yaml", **both)


def test_a_release_is_verified_after_it():
    manifests = chart_of("values.yaml", True)
    job = kinds(manifests, "Job")["media-pipeline-verify"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-install,post-upgrade"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["media-pipeline", "verify"]
    settings = settings_in(manifests)
    (port,) = kinds(manifests, "Service")["media-pipeline-webserver"]["spec"]["ports"]
    assert settings.dagster_url == f"http://media-pipeline-webserver:{port['port']}"


def test_prometheus_finds_the_exporter():
    manifests = chart_of("values.yaml", True)
    (monitor,) = kinds(manifests, "ServiceMonitor").values()
    service = kinds(manifests, "Service")["media-pipeline-exporter"]
    wanted = monitor["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = monitor["spec"]["endpoints"]
    exporter = pod_specs(manifests)["Deployment/media-pipeline-exporter"]["containers"][0]
    (token,) = [one["valueFrom"]["secretKeyRef"] for one in exporter["env"] if "valueFrom" in one]
    assert endpoint["authorization"]["credentials"] == token
    assert (endpoint["port"], endpoint["path"]) == (service["spec"]["ports"][0]["name"], "/metrics")
    policy = kinds(manifests, "NetworkPolicy")["media-pipeline-exporter"]["spec"]
    assert policy["ingress"][0]["ports"][0]["port"] == service["spec"]["ports"][0]["port"] == 9464


def test_webservers_alone_are_scaled_by_keda():
    manifests = chart_of("values.yaml", True)
    (scaled,) = kinds(manifests, "ScaledObject").values()
    deployments = kinds(manifests, "Deployment")
    unfixed = {name for name, one in deployments.items() if "replicas" not in one["spec"]}
    assert unfixed == {scaled["spec"]["scaleTargetRef"]["name"]} == {"media-pipeline-webserver"}
    assert scaled["spec"]["minReplicaCount"] < scaled["spec"]["maxReplicaCount"]
    (trigger,) = scaled["spec"]["triggers"]
    containers = deployments["media-pipeline-webserver"]["spec"]["template"]["spec"]["containers"]
    assert trigger["metadata"]["containerName"] in {one["name"] for one in containers}
    assert not [one["kind"] for one in chart_of("values.yaml", False) if is_custom(one)]


def test_everything_is_denied_that_is_not_allowed():
    policies = kinds(chart_of("values.yaml", False), "NetworkPolicy")
    deny = policies["media-pipeline-default-deny"]["spec"]
    assert deny["podSelector"] == {}
    assert set(deny["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in deny
    assert not kinds(chart_of("values-kind.yaml", False), "NetworkPolicy")


def test_a_misspelt_value_is_refused():
    with pytest.raises(helm.HelmError, match="webservr"):
        rendered("values.yaml", webservr={"replicas": 3})
    with pytest.raises(helm.HelmError, match="'elsewhere'"):
        rendered("values.yaml", relay={"mode": "elsewere"})


def test_the_schema_of_values_knows_every_value():
    def missing(value, schema, path="") -> list[str]:
        if not isinstance(value, dict) or "properties" not in schema:
            return []
        found = [f"{path}{key}" for key in value if key not in schema["properties"]]
        for key in value:
            found += missing(value[key], schema["properties"].get(key, {}), f"{path}{key}.")
        return found

    schema = json.loads((CHART / "values.schema.json").read_text())
    assert missing(yaml.safe_load((CHART / "values.yaml").read_text()), schema) == []


def test_an_image_without_a_digest_is_refused():
    with pytest.raises(helm.HelmError, match="digest"):
        rendered("values.yaml", image={"repository": "registry.invalid/media-pipeline"})


def run(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_dockerfiles_are_clean():
    files = sorted(str(one.relative_to(ROOT)) for one in (ROOT / "deploy").rglob("Dockerfile"))
    assert "deploy/docker/Dockerfile" in files
    run("hadolint", *files)


def test_the_image_gets_everything_that_the_wheel_is_made_of():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    needed = wheel["targets"]["wheel"]
    docker = ROOT / "deploy" / "docker"
    copied = [
        word
        for line in (docker / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    ignored = (docker / "Dockerfile.dockerignore").read_text().splitlines()
    let_in = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    for path in [*needed["packages"], *needed["force-include"]]:
        for listed in (copied, let_in):
            assert [one for one in listed if path == one or path.startswith(f"{one}/")], path


def test_shell_scripts_are_clean():
    scripts = sorted((ROOT / "deploy").rglob("*.sh"))
    assert scripts
    run("shellcheck", *map(str, scripts))


def test_a_missing_tool_is_named_before_anything_happens(tmp_path):
    for tool in ("bash", "dirname"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    done = subprocess.run(
        ["bash", str(ROOT / "deploy" / "kind" / "up.sh")],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "docker is not installed" in done.stderr
    assert "kubernetes-bring-up.md" in done.stderr
    assert done.stdout == ""


def test_plain_yaml_is_clean():
    rules = "{extends: default, rules: {line-length: {max: 120}, document-start: disable,"
    rules += " braces: {max-spaces-inside: 1}, comments: {min-spaces-from-content: 2}}}"
    files = sorted(CHART.glob("values*.yaml"))
    for folder in ("dagster_home", "deploy/compose", "deploy/gitops"):
        files += sorted((ROOT / folder).rglob("*.yaml"))
    run("yamllint", "-d", rules, *map(str, files))
