"""Starts the PostgREST stand-in as a server of the embedded stack."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from media_pipeline.local_stack import vault
from media_pipeline.local_stack.process import ServerProcess
from media_pipeline.local_stack.secrets_file import StackSecrets, write_private


def start(port: int, database_url: str, keys_file: Path, log_dir: Path) -> ServerProcess:
    """Start it on the migrated database; answers once /ready does. Keys: see `write_keys`."""
    process = ServerProcess(
        "postgrest",
        [sys.executable, "-m", "media_pipeline.local_stack.postgrest_server"],
        log_dir=log_dir,
        env={
            "PGRST_DB_URI": database_url,
            "PGRST_SERVER_HOST": "127.0.0.1",
            "PGRST_SERVER_PORT": str(port),
            "PGRST_DB_SCHEMAS": "media",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_JWT_SECRET": f"@{keys_file}",
            "PGRST_JWT_AUD": vault.WORKLOAD,
        },
    ).start()
    process.wait_ready(lambda: _ready(port))
    return process


def write_keys(file: Path, secrets: StackSecrets, public_keys: list[dict[str, Any]]) -> None:
    """The keys that PostgREST verifies tokens with: Vault's, and our own for tests and tools."""
    own = base64.urlsafe_b64encode(secrets.jwt_secret.encode()).decode().rstrip("=")
    keys = [{"kty": "oct", "alg": "HS256", "k": own}, *public_keys]
    write_private(file, json.dumps({"keys": keys}))


def reload_keys(process: ServerProcess) -> None:
    """What PostgREST does with SIGUSR2: read its configuration, and with it the keys, again."""
    if process.pid is not None:
        os.kill(process.pid, signal.SIGUSR2)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False
