"""How long the credentials in use stay valid. The credentials themselves go nowhere."""

from __future__ import annotations

import base64
import binascii
import json
import time

from media_pipeline.domain.ports import CredentialSource
from media_pipeline.errors import SystemicError
from resources.credentials import StoredCredentials, WorkloadIdentity
from resources.credentials.vault_session import VaultSession


def seconds_left(source: CredentialSource) -> dict[str, float]:
    """Credential -> seconds until it expires; those that never do are left out.

    Raises what the source raises, and SystemicError `vault_sealed`: values that were read before
    stay in use for a while, which must not look like a Vault that works.
    """
    expiry = _expiry_of_jwt(source.secret("ledger_token"))
    left = {
        "ledger_token": None if expiry is None else expiry - time.time(),
    }
    if isinstance(source, StoredCredentials | WorkloadIdentity):
        _require_open(source.session)
        left["vault_token"] = source.session.seconds_left()
    if isinstance(source, WorkloadIdentity):
        source.object_store_keys()  # renewed when that is due
        left["object_store_keys"] = source.keys.seconds_left()
    return {name: seconds for name, seconds in left.items() if seconds is not None}


def _require_open(session: VaultSession) -> None:
    if session.read("sys/seal-status").get("sealed"):
        raise SystemicError(
            "Vault is sealed.", remedy="unseal it; see your Vault runbook.", code="vault_sealed"
        )


def _expiry_of_jwt(token: str) -> float | None:
    """The claim `exp`; None without one. Not verified: PostgREST does that."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return None
