"""Makes the secrets of deploy/compose/compose.yaml in a folder that nobody else may enter.

    python deploy/compose/make_secrets.py .local/compose

They are made once and kept: a database remembers the password it was made with. Files of the
folder are readable, because containers read some of them as users of their own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from media_pipeline.local_stack.secrets_file import StackSecrets, load_or_make


def write_all(directory: Path) -> None:
    """Every file that compose.yaml reads below $SECRETS."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    for name, text in files(load_or_make(directory / "secrets.json")).items():
        (directory / name).write_text(text)
        (directory / name).chmod(READABLE)
    for name in OPERATORS:
        if not (directory / name).exists():
            (directory / name).write_text("http://localhost:9/nobody")  # leads nowhere
        (directory / name).chmod(READABLE)


#: Whatever the umask: containers read them as users of their own; nobody else enters the folder.
READABLE = 0o644
#: Written once, and then the operator's to change.
OPERATORS = ("slack-webhook-url",)


def files(made: StackSecrets) -> dict[str, str]:
    """File name -> content."""
    password, key = made.postgres_password, made.s3_access_key
    vault_token, exporter_token = made.vault_seal_key, made.filer_signing_key[24:]
    identity = {
        "name": "media",
        "credentials": [{"accessKey": key, "secretKey": made.s3_secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    credentials = {
        "object_store_access_key": key,
        "object_store_secret_key": made.s3_secret_key,
        "ledger_token": made.token("media_writer"),
    }
    dagster = f"postgresql+psycopg2://dagster:{password}@postgres:5432/dagster"
    return {
        "postgres-password": password,
        "grafana-password": made.filer_signing_key[:24],
        "exporter-token": exporter_token,
        "exporter.env": variables(MEDIA_PIPELINE_TELEMETRY__EXPORTER_TOKEN=exporter_token),
        "object-store-identities.json": json.dumps({"identities": [identity]}),
        "pipeline-credentials.json": json.dumps(credentials),
        "ledger-owner.env": variables(
            MEDIA_PIPELINE_LEDGER__DATABASE_URL=f"postgresql://postgres:{password}@postgres:5432/media"
        ),
        "postgrest.env": variables(
            PGRST_DB_URI=f"postgresql://authenticator:{password}@postgres:5432/media",
            PGRST_JWT_SECRET=made.jwt_secret,
        ),
        "object-store.env": variables(
            WEED_JWT_FILER_SIGNING_KEY=made.filer_signing_key,
            WEED_JWT_FILER_SIGNING_READ_KEY=made.filer_signing_key,
        ),
        "vault.env": variables(BAO_DEV_ROOT_TOKEN_ID=vault_token),
        "pipeline.env": variables(
            MEDIA_PIPELINE_VAULT__TOKEN=vault_token, DAGSTER_POSTGRES_URL=dagster
        ),
    }


def variables(**values: str) -> str:
    """Lines of an env file."""
    return "".join(f"{name}={value}\n" for name, value in values.items())


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
