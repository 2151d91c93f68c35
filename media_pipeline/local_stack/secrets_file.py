"""Generated credentials of one embedded stack: made once, kept in its data directory (0600)."""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

#: Tokens are minted anew at each start; a stack that runs longer than this needs a restart.
TOKEN_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class StackSecrets:
    """Every secret is random; none is ever fixed, printed or put on a command line."""

    postgres_password: str
    s3_access_key: str
    s3_secret_key: str
    filer_signing_key: str
    jwt_secret: str
    vault_seal_key: str
    sts_signing_key: str

    def token(self, role: str) -> str:
        """A JWT (HS256) with the role claim that PostgREST checks."""
        import jwt  # only the embedded stack signs tokens

        now = int(time.time())
        claims = {"role": role, "iat": now, "exp": now + TOKEN_SECONDS, "iss": "media-pipeline"}
        return jwt.encode(claims, self.jwt_secret, algorithm="HS256")


def load_or_make(file: Path) -> StackSecrets:
    """Read the secrets of this data directory, or make and keep them."""
    kept = json.loads(file.read_text()) if file.exists() else {}
    names = [field.name for field in fields(StackSecrets)]
    made = StackSecrets(**{name: kept.get(name) or secrets.token_hex(24) for name in names})
    if asdict(made) != kept:
        write_private(file, json.dumps(asdict(made), indent=1))
    return made


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = file.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    draft.replace(file)
