"""Ways to log in to Vault: Kubernetes, AppRole, JWT, and a given token for development."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from media_pipeline.errors import SystemicError
from resources.credentials.vault_api import VaultApi


@dataclass(frozen=True, slots=True)
class Login:
    """A token of Vault; `seconds` is 0 for one that never ends."""

    token: str = field(repr=False)
    seconds: float
    renewable: bool


class VaultLogin:
    """Logs in as `VaultSettings.auth` says. What a login needs is read at each login."""

    def __init__(self, api: VaultApi) -> None:
        self._api = api
        self._settings = api.settings
        self._unwrapped: tuple[str, str] | None = None  # wrapping token, secret id

    def __call__(self) -> Login:
        """SystemicError where Vault refuses or something is missing; TransientError if away."""
        match self._settings.auth:
            case "token":
                return self._given_token()
            case "approle":
                body = {"role_id": self._required("role_id"), "secret_id": self._secret_id()}
            case _:
                body = {"role": self._required("role"), "jwt": _file(self._settings.jwt_file)}
        mount = self._settings.auth_mount or self._settings.auth
        return _of(self._api.write(None, f"auth/{mount}/login", body)["auth"])

    def _given_token(self) -> Login:
        if self._settings.token is None:
            raise _missing("TOKEN")
        token = self._settings.token.get_secret_value()
        data = self._api.read(token, "auth/token/lookup-self")["data"]
        return Login(token, float(data["ttl"]), bool(data.get("renewable")))

    def _secret_id(self) -> str:
        settings = self._settings
        if settings.secret_id_file is not None:
            given = _file(settings.secret_id_file)
        elif settings.secret_id is not None:
            given = settings.secret_id.get_secret_value()
        else:
            raise _missing("SECRET_ID_FILE")
        if not settings.secret_id_wrapped:
            return given
        if self._unwrapped is None or self._unwrapped[0] != given:
            self._unwrapped = (given, self._unwrap(given))
        return self._unwrapped[1]

    def _unwrap(self, wrapping_token: str) -> str:
        """Take the secret id out; it can be done once, so a failure is somebody else's doing."""
        mount = self._settings.auth_mount or "approle"
        try:
            about = self._api.write(None, "sys/wrapping/lookup", {"token": wrapping_token})["data"]
            made_at = str(about.get("creation_path"))
            if not (made_at.startswith(f"auth/{mount}/role/") and made_at.endswith("/secret-id")):
                raise _intercepted(f"it was not made by the {mount} login but at {made_at}")
            data = self._api.write(wrapping_token, "sys/wrapping/unwrap", {})["data"]
        except SystemicError as error:
            if error.code == "credentials_refused":
                raise _intercepted("it was already unwrapped, or has expired") from error
            raise
        return str(data["secret_id"])

    def _required(self, name: str) -> str:
        value: str | None = getattr(self._settings, name)
        if value is None:
            raise _missing(name.upper())
        return value


def _of(auth: Mapping[str, Any]) -> Login:
    return Login(
        str(auth["client_token"]), float(auth["lease_duration"]), bool(auth.get("renewable"))
    )


def _file(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SystemicError(
            f"{path}, which the Vault login needs, cannot be read: {error.strerror}.",
            remedy="check the volume that brings it (projected token or secret), and its rights.",
            code="credentials_missing",
        ) from error


def _missing(variable: str) -> SystemicError:
    return SystemicError(
        f"the Vault login needs MEDIA_PIPELINE_VAULT__{variable}.",
        remedy="set it, or choose another MEDIA_PIPELINE_VAULT__AUTH.",
        code="credentials_missing",
    )


def _intercepted(what: str) -> SystemicError:
    return SystemicError(
        f"the wrapped secret id is not usable: {what}. Somebody may have intercepted it.",
        remedy="treat it as an incident: destroy the role's secret ids, look in Vault's audit log"
        " who unwrapped it, then issue a new one (deploy/runbooks/credential-rotation.md).",
        code="wrapping_token_used",
    )
