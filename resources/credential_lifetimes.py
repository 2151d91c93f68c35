"""How long the credentials in use stay valid. The credentials themselves go nowhere."""

from __future__ import annotations

import base64
import binascii
import json
import time

from media_pipeline.domain.ports import CredentialSource
from media_pipeline.errors import SystemicError
from media_pipeline.settings import VaultSettings


def seconds_left(source: CredentialSource, vault: VaultSettings) -> dict[str, float]:
    """Credential -> seconds until it expires; those that never do are left out.

    Raises what the source raises, and SystemicError `credentials_refused` when Vault refuses.
    """
    left = {}
    expiry = _expiry_of_jwt(source.secret("ledger_token"))
    if expiry is not None:
        left["ledger_token"] = expiry - time.time()
    if vault.address and vault.token:
        lifetime = _vault_token_seconds(vault)
        if lifetime:
            left["vault_token"] = lifetime
    return left


def _expiry_of_jwt(token: str) -> float | None:
    """The claim `exp`; None without one. Not verified: PostgREST does that."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return None


def _vault_token_seconds(vault: VaultSettings) -> float:
    """0 for a token without expiry."""
    import hvac
    import requests

    token = vault.token.get_secret_value() if vault.token else None
    client = hvac.Client(url=vault.address, token=token, timeout=5)
    try:
        return float(client.auth.token.lookup_self()["data"]["ttl"])
    except (hvac.exceptions.VaultError, requests.RequestException) as error:
        raise SystemicError(
            f"Vault at {vault.address} did not tell of its token: {type(error).__name__}.",
            remedy="check that Vault is up, unsealed, and that the token is valid.",
            code="credentials_refused",
        ) from error
