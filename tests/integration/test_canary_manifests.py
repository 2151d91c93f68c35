"""The chart with a candidate: a second code location, and pods of its runs that are its own."""

import json
import re
from functools import cache
from pathlib import Path

import helm_python as helm
import pytest
import yaml
from dagster_k8s.container_context import K8sContainerContext

from media_pipeline.settings import settings_of
from tests.integration.chart import CHART, DIGEST, IMAGE, ROOT, kinds, pod_specs, rendered_from
from tests.integration.manifest_schemas import require_valid

CANDIDATE = "sha256:" + "ef" * 32
VALUES = {
    "image": IMAGE,
    "canary": {
        "share": 10,
        "image": {"digest": CANDIDATE},
        "settings": {"MEDIA_PIPELINE_PROCESSING__THUMBNAIL_QUALITY": "70"},
        "models": {"registry": '{"schema": 1, "current": null}'},
    },
    "vaultAuth": {"enabled": True},
    "models": {"registry": '{"schema": 1, "current": {}}'},
}


@cache
def chart(share: int = 10) -> list[dict]:
    values = {**VALUES, "canary": {**VALUES["canary"], "share": share}}
    return rendered_from(CHART / "values.yaml", **values)


def config(name: str, share: int = 10) -> dict[str, str]:
    return kinds(chart(share), "ConfigMap")[name]["data"]


def code_server(name: str) -> dict:
    (container,) = pod_specs(chart())[f"Deployment/media-pipeline-{name}"]["containers"]
    return container


def given(container: dict) -> dict[str, str]:
    """What its process reads: config maps in their order, then its own variables."""
    maps = [one["configMapRef"]["name"] for one in container["envFrom"] if "configMapRef" in one]
    found: dict[str, str] = {}
    for name in maps:
        found |= config(name)
    return found | {one["name"]: one["value"] for one in container["env"]}


def settings_from(variables: dict[str, str]):
    return settings_of({key: value for key, value in variables.items()
                        if key != "MEDIA_PIPELINE_NAMESPACE"})  # fmt: skip


def test_everything_is_valid():
    for one in chart():
        require_valid(one)


def test_the_workspace_has_both_and_backfills_go_to_what_runs():
    found = yaml.safe_load(config("media-pipeline-dagster-instance")["workspace.yaml"])
    servers = [one["grpc_server"] for one in found["load_from"]]
    names = [one["location_name"] for one in servers]
    assert names == sorted(names) == ["media_pipeline", "media_pipeline_canary"]
    services = kinds(chart(), "Service")
    for server in servers:
        service = services[server["host"]]["spec"]
        assert service["ports"][0]["port"] == server["port"]
        selected = service["selector"]["app.kubernetes.io/component"]
        assert f"media-pipeline-{selected}" == server["host"]
    reached = kinds(chart(), "NetworkPolicy")["media-pipeline-code"]["spec"]["podSelector"]
    assert reached["matchExpressions"][0]["values"] == ["code", "canary"]


def test_the_candidate_differs_in_what_is_judged_and_in_nothing_else():
    main, candidate = (settings_from(given(code_server(name))) for name in ("code", "canary"))
    assert (main.canary.share, main.canary.candidate) == (10, False)
    assert (candidate.canary.share, candidate.canary.candidate) == (10, True)
    assert (main.image_digest, candidate.image_digest) == (DIGEST, CANDIDATE)
    assert candidate.processing.thumbnail_quality == 70
    judged = {"canary", "processing", "moderation", "image_digest"}
    assert main.model_dump(exclude=judged) == candidate.model_dump(exclude=judged)
    assert main.vault.role == "media-sensor", "a sensor's rights"
    for name in ("code", "canary"):
        assert code_server(name)["image"] == given(code_server(name))["DAGSTER_CURRENT_IMAGE"]
    assert code_server("canary")["image"] == f"{IMAGE['repository']}@{CANDIDATE}"
    assert code_server("canary")["command"] == code_server("code")["command"]


def test_its_models_are_mounted_where_its_setting_says():
    for name, registry in (("code", {"schema": 1, "current": {}}),
                           ("canary", {"schema": 1, "current": None})):  # fmt: skip
        file = settings_from(given(code_server(name))).moderation.registry_file
        spec = pod_specs(chart())[f"Deployment/media-pipeline-{name}"]
        (mount,) = [one for one in code_server(name)["volumeMounts"]
                    if one["mountPath"] == str(Path(file).parent)]  # fmt: skip
        (volume,) = [one for one in spec["volumes"] if one["name"] == mount["name"]]
        assert json.loads(config(volume["configMap"]["name"])["models.json"]) == registry


def launched(name: str) -> dict:
    """The container of a run's pod and its volumes, as K8sRunLauncher would put them together."""
    instance = yaml.safe_load(config("media-pipeline-dagster-instance")["dagster.yaml"])
    launcher = instance["run_launcher"]["config"]
    shared = {key: launcher[key] for key in ("env_config_maps", "env_secrets", "run_k8s_config")}
    own = json.loads(given(code_server(name))["DAGSTER_CONTAINER_CONTEXT"])
    both = K8sContainerContext.create_from_config({"k8s": shared}).merge(
        K8sContainerContext.create_from_config(own)
    )
    run = both.run_k8s_config.to_dict()
    return {**run["container_config"], "volumes": run["pod_spec_config"]["volumes"]}


def test_pods_of_its_runs_are_its_own():
    for name, digest in (("code", DIGEST), ("canary", CANDIDATE)):
        container = launched(name)
        maps = [one["config_map_ref"]["name"] for one in container["env_from"]
                if "config_map_ref" in one]  # fmt: skip
        variables: dict[str, str] = {}
        for one in maps:
            variables |= config(one)
        variables |= {one["name"]: one["value"] for one in container["env"]}
        settings = settings_from(variables)
        assert settings.image_digest == digest, "dead letters name the image that wrote them"
        assert settings.canary.candidate is (name == "canary")
        assert settings.vault.role == "media-worker"
        file = Path(settings.moderation.registry_file)
        (mount,) = [one for one in container["volume_mounts"]
                    if one["mount_path"] == str(file.parent)]  # fmt: skip
        assert mount["name"] in [one["name"] for one in container["volumes"]]
        assert container["security_context"]["read_only_root_filesystem"] is True


def test_migrations_are_those_of_the_newest_image():
    def image(share: int) -> str:
        spec = kinds(chart(share), "Job")["media-pipeline-migrations"]["spec"]
        return spec["template"]["spec"]["containers"][0]["image"]

    assert image(10).endswith(CANDIDATE)
    assert image(0).endswith(DIGEST)


def test_without_a_share_there_is_nothing_of_it():
    manifests = chart(0)
    assert CANDIDATE not in yaml.safe_dump_all(manifests)
    assert not [name for kind in ("Deployment", "Service", "ConfigMap")
                for name in kinds(manifests, kind) if "canary" in name]  # fmt: skip
    workspace = config("media-pipeline-dagster-instance", 0)["workspace.yaml"]
    assert "canary" not in workspace
    assert settings_from(config("media-pipeline-settings", 0)).canary.share == 0


def test_code_servers_and_sensors_start_anew_when_the_share_moves():
    def hash_of(share: int) -> str:
        deployment = kinds(chart(share), "Deployment")["media-pipeline-code"]
        return deployment["spec"]["template"]["metadata"]["annotations"]["media-pipeline/config"]

    assert len({hash_of(share) for share in (0, 10, 20)}) == 3


def test_a_share_that_is_none_is_refused():
    for share in (-1, 101, "10"):
        with pytest.raises(helm.HelmError, match="share"):
            rendered_from(CHART / "values.yaml", image=IMAGE, canary={"share": share})


def test_what_its_page_shows_is_what_the_chart_takes():
    page = (ROOT / "deploy" / "runbooks" / "canary.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    values = yaml.safe_load(block)
    manifests = rendered_from(CHART / "values.yaml", image=IMAGE, **values)
    spec = pod_specs(manifests)["Deployment/media-pipeline-canary"]
    assert spec["containers"][0]["image"].endswith(values["canary"]["image"]["digest"])
