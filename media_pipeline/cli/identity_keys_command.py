"""`identity-keys`: Vault's public keys as the file that PostgREST verifies tokens with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

Output = Annotated[Path, typer.Argument(help="File that PGRST_JWT_SECRET names after its @.")]
Keep = Annotated[
    Path | None,
    typer.Option(help="File with a JWKS of further keys that stay valid, e.g. of a static token."),
]


def register(app: typer.Typer) -> None:
    """Add `identity-keys` to the command line."""
    app.command(name="identity-keys")(identity_keys)


def identity_keys(output: Output, keep: Keep = None) -> None:
    """Write the keys, whole or not at all, and say whether PostgREST must read them again.

    Run it every few minutes: Vault shows a key some time before it signs with it.
    """
    from media_pipeline.settings import load_settings  # quick --help
    from resources.credentials.identity_keys import identity_keys as fetch

    kept: list[dict[str, Any]] = json.loads(keep.read_text())["keys"] if keep else []
    keys = [*kept, *fetch(load_settings().vault)]
    text = json.dumps({"keys": keys}, sort_keys=True)
    if output.exists() and output.read_text() == text:
        print(f"{len(keys)} keys, unchanged")
        return
    draft = output.with_name(f"{output.name}.new")
    # Kept keys may be shared secrets.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    draft.replace(output)
    print(f"{len(keys)} keys, changed: now NOTIFY pgrst, 'reload config' (or send it SIGUSR2)")
