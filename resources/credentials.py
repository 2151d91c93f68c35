"""Credentials at the moment of use: from Vault where there is one, else from the environment."""
# No postponed annotations: Dagster resolves resource types from the real ones.

import threading
import time
from typing import Any

import dagster as dg

from media_pipeline.domain.ports import CredentialSource
from media_pipeline.errors import SystemicError
from media_pipeline.settings import Settings, VaultSettings, load_settings

NAMES = (
    "object_store_access_key",
    "object_store_secret_key",
    "ledger_token",
    "kafka_password",
)
#: A rotated secret is seen after at most this long without anybody restarting anything.
MAX_AGE_SECONDS = 60.0


class SettingsCredentials:
    """Environment mode: the secrets that `Settings` was given."""

    def __init__(self, settings: Settings) -> None:
        self._values = {
            "object_store_access_key": settings.object_store.access_key,
            "object_store_secret_key": settings.object_store.secret_key,
            "ledger_token": settings.ledger.token,
            "kafka_password": settings.kafka.sasl_password,
        }

    def secret(self, name: str) -> str:
        """SystemicError `credentials_missing` naming the variable that is not set."""
        value = self._values.get(name)
        if value is None:
            raise SystemicError(
                f"the credential {name} is not set.",
                remedy="set its MEDIA_PIPELINE_ variable (see the README's settings table), or"
                " MEDIA_PIPELINE_VAULT__ADDRESS and __TOKEN.",
                code="credentials_missing",
            )
        return value.get_secret_value()


class VaultCredentials:
    """kv v2 of Vault or OpenBao, read as one secret and kept for `MAX_AGE_SECONDS`.

    An outage after the first read is bridged with the last good values: they may still be
    valid, and the store that refuses them says so better than we could.
    """

    def __init__(self, settings: VaultSettings, max_age_seconds: float = MAX_AGE_SECONDS) -> None:
        self._settings = settings
        self._max_age = max_age_seconds
        self._values: dict[str, str] = {}
        self._read_at: float | None = None
        self._lock = threading.Lock()

    def secret(self, name: str) -> str:
        """SystemicError `credentials_missing` or `credentials_refused` where there is none."""
        with self._lock:
            stale = self._read_at is None or time.monotonic() - self._read_at > self._max_age
            if stale:
                self._read()
            value = self._values.get(name)
        if value is None:
            raise SystemicError(
                f"Vault has no {name} at {self._settings.mount}/{self._settings.path}.",
                remedy="write it there with `vault kv patch`.",
                code="credentials_missing",
            )
        return value

    def refresh(self) -> None:
        """Read anew at the next use: what a store refused may just have been rotated."""
        with self._lock:
            self._read_at = None

    def _read(self) -> None:
        import hvac  # kept out of definitions' import
        import requests

        token = self._settings.token.get_secret_value() if self._settings.token else None
        client = hvac.Client(url=self._settings.address, token=token, timeout=5)
        try:
            answer: dict[str, Any] = client.secrets.kv.v2.read_secret_version(
                path=self._settings.path,
                mount_point=self._settings.mount,
                raise_on_deleted_version=True,
            )
        except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized) as error:
            raise SystemicError(
                f"Vault at {self._settings.address} refused the token.",
                remedy="check that the token is valid and its policy reads"
                f" {self._settings.mount}/data/{self._settings.path}.",
                code="credentials_refused",
            ) from error
        except (hvac.exceptions.VaultError, requests.RequestException) as error:
            if self._values:
                self._read_at = time.monotonic()  # ask again in a while, not at every use
                return
            raise SystemicError(
                f"Vault at {self._settings.address} does not answer: {type(error).__name__}.",
                remedy="check that Vault is up, unsealed and reachable.",
                code="credentials_missing",
            ) from error
        self._values = {str(key): str(value) for key, value in answer["data"]["data"].items()}
        self._read_at = time.monotonic()


def credential_source(settings: Settings) -> CredentialSource:
    """Vault when its address is set, else the environment."""
    if settings.vault.address:
        return VaultCredentials(settings.vault)
    return SettingsCredentials(settings)


class CredentialsResource(dg.ConfigurableResource[CredentialSource]):
    """Reads settings when a run or tick starts, so that no secret is in Dagster's config."""

    def create_resource(self, context: dg.InitResourceContext) -> CredentialSource:
        return credential_source(load_settings())
