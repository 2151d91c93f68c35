"""deploy/compose: a valid Compose file within our rules, and what prepares it, on real servers."""

import importlib.util
import inspect
import json
import os
import re
import stat
import uuid
from pathlib import Path

import compose_spec
import hvac
import pytest
import typer
import yaml
from kafka.admin import KafkaAdminClient
from minio import Minio

from media_pipeline.settings import Settings, settings_of

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "deploy" / "compose"
#: Runs once and ends, or has nothing inside to ask it with.
WITHOUT_HEALTHCHECK = {"migrate", "prepare", "otel-collector"}
VARIABLE = re.compile(r"\$\{(\w+)(?::[?-]([^}]*))?\}")


def script(name: str):
    specification = importlib.util.spec_from_file_location(name, COMPOSE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def document() -> dict:
    given = {"SECRETS": "/secrets"}
    text = (COMPOSE / "compose.yaml").read_text()
    return yaml.safe_load(VARIABLE.sub(lambda one: given.get(one[1], one[2]), text))


SERVICES = document()["services"]
OURS = {name for name, one in SERVICES.items() if one["image"] == "media-pipeline:local"}
each_service = pytest.mark.parametrize("name", SERVICES)


def test_it_is_what_the_compose_specification_allows():
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(document())).to_spec()
    broken = document()
    broken["services"]["kafka"]["helthcheck"] = {}
    with pytest.raises(ValueError, match="helthcheck"):
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(broken))


def test_nothing_is_missing():
    assert set(SERVICES) >= {
        "kafka", "postgres", "postgrest", "object-store", "vault", "prometheus", "grafana",
        "otel-collector", "alertmanager", "exporter", "code", "daemon", "webserver", "relay",
        "migrate", "prepare",
    }  # fmt: skip


@each_service
def test_a_service_keeps_to_the_rules(name):
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory", "pids"}
    assert float(limits["cpus"]) <= 2, "an engine refuses a limit above the CPUs that it has"
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "network_mode" not in service
    _, _, tag = service["image"].rpartition(":")
    assert re.search(r"\d+\.\d+", tag) or name in OURS, "a version, not a name that moves"
    disabled = service["healthcheck"] == {"disable": True}
    assert disabled == (name in WITHOUT_HEALTHCHECK)
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")
    if name in OURS:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


@each_service
def test_what_a_service_mounts_is_there(name):
    make = script("make_secrets")
    made = {*make.files(made_up()), *make.OPERATORS}
    top = document()
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (COMPOSE / source).exists(), source
        else:
            assert source in top["volumes"], source
    for one in SERVICES[name].get("secrets", []):
        source = one["source"] if isinstance(one, dict) else one
        assert Path(top["secrets"][source]["file"]).name in made, one
    for one in SERVICES[name].get("env_file", []):
        assert Path(one["path"]).name in made, one
    for one in SERVICES[name].get("configs", []):
        assert top["configs"][one["source"]]["content"]
        if one["target"].endswith((".yml", ".yaml")):
            yaml.safe_load(top["configs"][one["source"]]["content"])


@pytest.mark.parametrize("name", sorted(OURS))
def test_settings_and_commands_of_our_services_exist(name):
    from media_pipeline.cli.main import app

    variables = {
        key: value
        for key, value in SERVICES[name]["environment"].items()
        if key.startswith("MEDIA_PIPELINE_")
    }
    settings_of(variables)
    for variable in variables:
        group, _, field = variable.removeprefix("MEDIA_PIPELINE_").lower().partition("__")
        assert group in Settings.model_fields, variable
        if field:
            assert field in Settings.model_fields[group].annotation.model_fields, variable
    program, *words = SERVICES[name]["command"]
    if program == "media-pipeline":
        command = typer.main.get_command(app).commands[words[0]]
        known = {option for one in command.params for option in one.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_everything_starts_after_what_it_needs():
    def needs(name: str) -> set[str]:
        direct = SERVICES[name].get("depends_on", {})
        for other, how in direct.items():
            ends = other in ("migrate", "prepare")
            wanted = "service_completed_successfully" if ends else "service_healthy"
            assert how == {"condition": wanted}, (name, other)
        return set(direct).union(*map(needs, direct))

    for name in ("code", "daemon", "webserver", "relay"):
        assert {"postgres", "migrate", "postgrest", "kafka", "object-store", "vault"} < needs(name)
    workspace = yaml.safe_load((COMPOSE / "workspace.yaml").read_text())
    server = workspace["load_from"][0]["grpc_server"]
    assert str(server["port"]) in SERVICES[server["host"]]["command"]


def test_runs_have_time_to_end_when_their_server_is_stopped():
    from dagster._grpc.server import GrpcServerProcess

    patience = inspect.signature(GrpcServerProcess.wait).parameters["timeout"].default
    (allowed,) = re.findall(r"^(\d+)s$", SERVICES["code"]["stop_grace_period"])
    assert int(allowed) > patience >= 30, "the code server waits for runs, and is not killed before"


def test_the_script_of_the_database_is_a_program_of_its_own():
    """One that cannot be executed is read into the start script, and its `set -u` with it."""
    assert os.access(COMPOSE / "postgres-roles.sh", os.X_OK)
    assert any("/docker-entrypoint-initdb.d/" in one for one in SERVICES["postgres"]["volumes"])


def test_prometheus_asks_the_exporter_where_it_listens():
    from media_pipeline.settings import TelemetrySettings

    config = yaml.safe_load((ROOT / "deploy/monitoring/prometheus/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert target == f"exporter:{TelemetrySettings().exporter_port}"
    assert str(TelemetrySettings().exporter_port) in str(SERVICES["exporter"]["healthcheck"])
    beside = [Path(volume.split(":")[1]).name for volume in SERVICES["prometheus"]["volumes"]]
    assert set(config["rule_files"]) <= set(beside)
    (token,) = SERVICES["prometheus"]["secrets"]
    assert token["target"] == f"/etc/prometheus/{job['authorization']['credentials_file']}"


def made_up():
    from media_pipeline.local_stack.secrets_file import StackSecrets

    names = StackSecrets.__dataclass_fields__
    return StackSecrets(**{name: f"{number}" * 48 for number, name in enumerate(names)})


def test_secrets_are_made_once_and_nobody_else_enters_their_folder(tmp_path):
    make, directory = script("make_secrets"), tmp_path / "secrets"
    before = os.umask(0o077)
    try:
        make.write_all(directory)
    finally:
        os.umask(before)
    first = (directory / "postgrest.env").read_text()
    make.write_all(directory)
    assert (directory / "postgrest.env").read_text() == first
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for name in (*make.files(made_up()), *make.OPERATORS):
        mode = stat.S_IMODE((directory / name).stat().st_mode)
        assert mode == 0o644, f"{name}: containers read it as users of their own"
    settings = dict(
        line.split("=", 1) for line in (directory / "ledger-owner.env").read_text().splitlines()
    )
    assert settings_of(settings).ledger.database_url is not None
    for name in ("object-store-identities.json", "pipeline-credentials.json"):
        assert json.loads((directory / name).read_text())
    text = (COMPOSE / "compose.yaml").read_text().lower()
    assert not re.search(r"(password|token|secret_key): *[a-z0-9]", text)


def test_what_prepares_it_makes_what_is_missing_and_may_be_repeated(stack, tmp_path, monkeypatch):
    prefix = f"prepared-{uuid.uuid4().hex[:6]}"
    variables = {
        **stack.environment(),
        "MEDIA_PIPELINE_KAFKA__INGESTED_TOPIC": f"{prefix}.ingested",
        "MEDIA_PIPELINE_KAFKA__ENRICHED_TOPIC": f"{prefix}.enriched",
        "MEDIA_PIPELINE_KAFKA__DEAD_LETTER_TOPIC": f"{prefix}.dlq",
        "MEDIA_PIPELINE_OBJECT_STORE__ALLOWED_BUCKETS": json.dumps([f"{prefix}-media"]),
        "MEDIA_PIPELINE_OBJECT_STORE__DERIVED_BUCKET": f"{prefix}-derived",
        "MEDIA_PIPELINE_VAULT__PATH": prefix,
        "MEDIA_PIPELINE_VAULT__AUTH": "token",
        "MEDIA_PIPELINE_VAULT__TOKEN": stack.vault_token,
    }
    registry = tmp_path / "models.json"
    registry.write_text("{}")  # a model is there already
    variables["MEDIA_PIPELINE_MODERATION__REGISTRY_FILE"] = str(registry)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    credentials = {
        "object_store_access_key": stack.s3_access_key,
        "object_store_secret_key": stack.s3_secret_key,
        "ledger_token": stack.ledger_token,
    }
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps(credentials))
    for _ in range(2):
        script("prepare").main(file)
    admin = KafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    topics = {one for one in admin.list_topics() if one.startswith(prefix)}
    admin.close()
    assert topics == {f"{prefix}.{kind}" for kind in ("ingested", "enriched", "dlq")}
    client = Minio(
        endpoint=stack.s3_endpoint, access_key=stack.s3_access_key,
        secret_key=stack.s3_secret_key, secure=False, region="us-east-1",
    )  # fmt: skip
    buckets = {one.name for one in client.list_buckets() if one.name.startswith(prefix)}
    assert buckets == {f"{prefix}-media", f"{prefix}-derived"}
    vault = hvac.Client(url=stack.vault_address, token=stack.vault_token)
    read = vault.secrets.kv.v2.read_secret_version(path=prefix, raise_on_deleted_version=True)
    assert read["data"]["data"] == credentials


def test_stand_ins_replace_servers_and_change_nothing_else():
    """Where no image registry answers: deploy/compose/check_stack.py."""
    over = yaml.safe_load((COMPOSE / "stand-ins" / "compose.yaml").read_text())["services"]
    left_out = {name for name, one in over.items() if "profiles" in one}
    assert left_out == {"grafana", "otel-collector"}
    assert not [name for name, one in SERVICES.items() if set(one.get("depends_on", {})) & left_out]
    assert set(over) - OURS == set(SERVICES) - OURS
    for name, one in over.items():
        allowed = (
            {"environment"} if name in OURS else {"image", "entrypoint", "user", "healthcheck"}
        )
        assert set(one) <= allowed | {"profiles"}, name
    script = (COMPOSE / "stand-ins" / "server.sh").read_text()
    for name in set(over) - OURS - left_out:
        assert over[name]["entrypoint"] == ["server", name]
        assert re.search(rf"^  {name}\)", script, re.MULTILINE)
    called = {
        SERVICES["kafka"]["healthcheck"]["test"][1],
        SERVICES["postgrest"]["healthcheck"]["test"][1],
    }
    for program in called:
        assert f"  {Path(program).name})" in script, (
            "health checks keep the names of the real images"
        )


def test_servers_made_here_are_of_the_pinned_versions():
    text = (COMPOSE / "stand-ins" / "Dockerfile").read_text()
    (install,) = re.findall(r"pip install (.*?)\nWORKDIR", text, re.DOTALL)
    names = re.findall(r"[a-z][a-z-]+", install.partition("constraints.txt")[2])
    pinned = (ROOT / "deploy" / "constraints.txt").read_text()
    for name in {*names} - {"crypto"}:
        assert re.search(rf"^{name}==", pinned, re.MULTILINE | re.IGNORECASE), name


def test_the_check_looks_at_every_service_of_ours():
    text = (COMPOSE / "check_stack.py").read_text()
    named = {
        word
        for line in re.findall(r"^(?:OURS|ENDING) = \((.*)\)$", text, re.MULTILINE)
        for word in re.findall(r'"([a-z]+)"', line)
    }
    assert named == OURS
