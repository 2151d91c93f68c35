"""Starts the PostgREST stand-in as a server of the embedded stack."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

from media_pipeline.local_stack.process import ServerProcess
from media_pipeline.local_stack.secrets_file import StackSecrets


def start(port: int, database_url: str, secrets: StackSecrets, log_dir: Path) -> ServerProcess:
    """Start it on the migrated database; answers once /ready does."""
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
            "PGRST_JWT_SECRET": secrets.jwt_secret,
        },
    ).start()
    process.wait_ready(lambda: _ready(port))
    return process


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False
