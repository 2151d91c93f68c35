"""deploy/gitops: what Argo CD and Flux would install is within the same rules as the chart."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.integration.chart import CHART, ROOT, kinds, pod_specs, rendered_from, settings_in
from tests.integration.manifest_schemas import require_valid

GITOPS = ROOT / "deploy" / "gitops"
ENVIRONMENTS = ("production",)


def argo(name: str) -> dict:
    return yaml.safe_load((GITOPS / "argocd" / f"{name}.yaml").read_text())


def flux(name: str) -> dict:
    return yaml.safe_load((GITOPS / "flux" / f"{name}.yaml").read_text())


def values_of(name: str) -> list[Path]:
    """As Argo CD finds them: relative to the chart."""
    files = argo(name)["spec"]["source"]["helm"]["valueFiles"]
    return [(CHART / file).resolve() for file in files]


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def environment(request):
    return request.param, rendered_from(*values_of(request.param))


def test_both_tools_install_the_same(environment):
    name, _ = environment
    application, release = argo(name)["spec"], flux(name)["spec"]
    chart = release["chart"]["spec"]
    assert (ROOT / chart["chart"]).resolve() == (ROOT / application["source"]["path"]).resolve()
    assert [(ROOT / file).resolve() for file in chart["valuesFiles"]] == values_of(name)
    assert release["releaseName"] == application["source"]["helm"]["releaseName"]
    assert release["targetNamespace"] == application["destination"]["namespace"]
    source = flux("source")
    assert chart["sourceRef"]["name"] == source["metadata"]["name"]
    assert source["spec"]["url"] == application["source"]["repoURL"]


def test_what_is_installed_is_valid_and_keeps_to_the_rules(environment):
    _, manifests = environment
    for one in manifests:
        require_valid(one)
    for name, spec in pod_specs(manifests).items():
        for container in spec["containers"]:
            assert re.fullmatch(r".+@sha256:[0-9a-f]{64}", container["image"]), name
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name


def test_a_release_is_one_line(environment):
    name, manifests = environment
    file = GITOPS / "environments" / name / "image.yaml"
    digests = [line for line in file.read_text().splitlines() if "digest" in line]
    assert len(digests) == 1
    digest = digests[0].split()[-1]
    images = {
        container["image"].partition("@")[2]
        for spec in pod_specs(manifests).values()
        for container in spec["containers"]
    }
    assert images == {digest}


def test_there_is_no_candidate_until_one_file_says_so():
    files = values_of("production")
    assert files[-1] == GITOPS / "environments" / "production" / "canary.yaml", "it goes last"
    manifests = rendered_from(*files)
    assert settings_in(manifests).canary.share == 0
    assert "media-pipeline-canary" not in kinds(manifests, "Deployment")


def test_every_address_that_is_set_may_be_reached():
    manifests = rendered_from(*values_of("production"))
    settings = settings_in(manifests)
    policy = kinds(manifests, "NetworkPolicy")["media-pipeline-dependencies"]["spec"]
    ports = {one["port"] for rule in policy["egress"] for one in rule["ports"]}
    for address in (
        settings.kafka.bootstrap_servers, settings.object_store.endpoint, settings.ledger.url,
        settings.vault.address, settings.telemetry.otlp_endpoint,
    ):  # fmt: skip
        assert int(address.rpartition(":")[2]) in ports, address


def test_a_failed_release_goes_back_by_itself():
    spec = flux("production")["spec"]
    assert spec["upgrade"]["remediation"]["strategy"] == "rollback"
    assert argo("production")["spec"]["syncPolicy"]["automated"] == {
        "prune": True, "selfHeal": True,
    }  # fmt: skip


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_helm_waits_for_a_hook_until_its_own_deadline(name):
    """Its default is five minutes: a longer migration would be rolled back in its midst."""
    jobs = kinds(rendered_from(*values_of("production")), "Job")
    assert set(jobs) == {"media-pipeline-migrations", "media-pipeline-verify"}
    deadlines = [one["spec"]["activeDeadlineSeconds"] for one in jobs.values()]
    timeout = minutes(flux(name)["spec"]["timeout"])
    assert max(deadlines) < timeout * 60
    assert minutes(flux("sync")["spec"]["timeout"]) * 60 > sum(deadlines) + timeout * 60


def minutes(duration: str) -> int:
    assert duration.endswith("m")
    return int(duration.removesuffix("m"))


@pytest.mark.parametrize("folder", ["argocd", "flux"])
def test_kustomizations_list_files_that_are_there(folder):
    listed = yaml.safe_load((GITOPS / folder / "kustomization.yaml").read_text())["resources"]
    for name in listed:
        assert (GITOPS / folder / name).is_file(), name


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl: kustomize builds nothing here")
@pytest.mark.parametrize("folder", ["argocd", "flux"])
def test_kustomize_builds(folder):
    done = subprocess.run(
        ["kubectl", "kustomize", str(GITOPS / folder)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    built = {one["kind"] for one in yaml.safe_load_all(done.stdout)}
    assert built == (
        {"Application"} if folder == "argocd" else {"GitRepository", "Kustomization", "HelmRelease"}
    )
