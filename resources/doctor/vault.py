"""Vault's health and our token; the identity token and the temporary keys that follow from it."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from media_pipeline.domain.ports import CredentialSource
from media_pipeline.errors import MediaPipelineError
from media_pipeline.settings import Settings
from resources.credentials import StoredCredentials, WorkloadIdentity
from resources.doctor.finding import (
    SKEW_SECONDS,
    Finding,
    failed,
    of_error,
    ok,
    skew_of_date,
    skipped,
)

_SERVING = {200, 429, 472, 473}
_SEALED = 503
_NOT_INITIALISED = 501


def check_vault(settings: Settings, source: CredentialSource, now: float) -> list[Finding]:
    """Reachable, unsealed, our login and how long it lasts."""
    if not isinstance(source, StoredCredentials | WorkloadIdentity):
        return [skipped("vault", "no address is set: credentials come from the environment.")]
    health = _health(settings, now)
    if any(one.state == "failed" and one.code != "clock_skew" for one in health):
        return health
    try:
        left = source.session.seconds_left()
        about = source.session.read("auth/token/lookup-self")["data"]
    except MediaPipelineError as error:
        return [*health, of_error("vault login", error)]
    life = "does not end" if left is None else f"has {left:.0f} s left"
    policies = ", ".join(sorted(about.get("policies") or ()))
    found = ok("vault login", f"{settings.vault.auth}: the token {life}; policies: {policies}.")
    if "root" in (about.get("policies") or ()):
        found = Finding(
            "vault login",
            "warning",
            "this is a root token.",
            "root_token",
            "log in by kubernetes, jwt or approle with a policy of deploy/vault/policies.",
        )
    return [*health, found]


def _health(settings: Settings, now: float) -> list[Finding]:
    import requests  # kept out of definitions' import

    address = settings.vault.address
    try:
        answer = requests.get(
            f"{address}/v1/sys/health",
            timeout=settings.vault.timeout_seconds,
            verify=settings.vault.ca_file or True,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        return [
            failed(
                "vault",
                f"{address} does not answer: {type(error).__name__}.",
                "vault_unavailable",
                "check the address, the network policy and that Vault runs.",
            )
        ]
    if answer.status_code == _SEALED:
        return [failed("vault", f"{address} is sealed.", "vault_sealed", "unseal it.")]
    if answer.status_code == _NOT_INITIALISED:
        return [
            failed(
                "vault",
                f"{address} is not initialised.",
                "vault_sealed",
                "initialise it, or restore its storage.",
            )
        ]
    if answer.status_code not in _SERVING or "sealed" not in answer.text:
        return [
            failed(
                "vault",
                f"{address} answers, but not like Vault ({answer.status_code}).",
                "vault_wrong_endpoint",
                "correct MEDIA_PIPELINE_VAULT__ADDRESS.",
            )
        ]
    skewed = skew_of_date("vault", answer.headers.get("Date"), now)
    return skewed or [ok("vault", f"{address} is unsealed.")]


def check_identity(source: CredentialSource, now: float) -> list[Finding]:
    """The token for the ledger: role, and whether it is valid now by this host's clock."""
    name = "ledger token"
    try:
        token = source.secret("ledger_token")
    except MediaPipelineError as error:
        return [of_error(name, error)]
    claims = _claims(token)
    if claims is None:
        return [failed(name, "it is not a JWT.", "token_malformed", "issue one with a role claim.")]
    role, ends = claims.get("role"), claims.get("exp")
    begins = max(float(claims.get("nbf") or 0), float(claims.get("iat") or 0))
    if ends is not None and float(ends) <= now:
        return [
            failed(
                name,
                f"it expired {now - float(ends):.0f} s ago.",
                "token_expired",
                "issue a new one; with Vault as the source check that identity tokens are read"
                " (deploy/runbooks/credential-rotation.md).",
            )
        ]
    if begins > now + SKEW_SECONDS:
        return [
            failed(
                name,
                f"it is not valid for another {begins - now:.0f} s.",
                "clock_skew",
                "mend the clock of this host or of the issuer.",
            )
        ]
    if not isinstance(role, str):
        return [
            failed(
                name,
                "it has no role claim, so PostgREST would take the anonymous role.",
                "role_missing",
                'give the identity role the template {"role": "media_writer"} or that of a'
                " component.",
            )
        ]
    life = "without end" if ends is None else f"{float(ends) - now:.0f} s left"
    if ends is None:
        return [
            Finding(
                name,
                "warning",
                f"role {role}, {life}.",
                "token_endless",
                "issue tokens that end; one that leaks stays good for ever.",
            )
        ]
    return [ok(name, f"role {role}, {life}.")]


def check_keys(settings: Settings, source: CredentialSource) -> list[Finding]:
    """Keys of the object store: static, or temporary ones and how long they live."""
    name = "object store keys"
    try:
        keys = source.object_store_keys()
    except MediaPipelineError as error:
        return [of_error(name, error)]
    if keys.session_token is None:
        return [ok(name, "static keys.")]
    left = source.keys.seconds_left() if isinstance(source, WorkloadIdentity) else None
    role = settings.object_store.sts_role_arn
    return [ok(name, f"temporary keys of {role}, {left or 0:.0f} s left.")]


def _claims(token: str) -> dict[str, Any] | None:
    """What the token says of itself; whether it is genuine is for PostgREST to judge."""
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004  # header, claims, signature
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    return found if isinstance(found, dict) else None
