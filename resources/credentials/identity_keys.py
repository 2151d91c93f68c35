"""The public keys of Vault's identity tokens, for a PostgREST that reads them from a file."""

from __future__ import annotations

from typing import Any

from media_pipeline.errors import SystemicError
from media_pipeline.settings import VaultSettings
from resources.credentials.vault_api import VaultApi


def identity_keys(settings: VaultSettings) -> list[dict[str, Any]]:
    """JWKs that verify tokens of now, of lately and, ahead of time, of the next rotation.

    They are public: no login is needed. SystemicError or TransientError as for any request.
    """
    if not settings.address:
        raise SystemicError(
            "no Vault issues identity tokens here.",
            remedy="set MEDIA_PIPELINE_VAULT__ADDRESS.",
            code="credentials_missing",
        )
    api = VaultApi(settings)
    path = "identity/oidc/.well-known/keys"
    answer = api.call(path, lambda: api.client(None).adapter.get(f"/v1/{path}"))
    return list(answer["keys"])
