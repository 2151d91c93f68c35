"""Keys and tokens kept in Vault: kv v2, and the database engine where a role is set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from media_pipeline.domain.ports import ObjectStoreKeys
from media_pipeline.errors import SystemicError
from media_pipeline.settings import VaultSettings
from resources.credentials.leases import Lease, Leased
from resources.credentials.vault_session import VaultSession

#: A value that was changed in kv is seen after at most this long, seconds.
MAX_AGE_SECONDS = 60.0
_DATABASE = ("database_username", "database_password")


class StoredCredentials:
    """`CredentialSource` on kv v2, read as one secret.

    An outage is bridged: values of kv for `outage_seconds`, database credentials until their
    lease ends. After a database lease is refused or can no longer be renewed, a new one is taken.
    """

    def __init__(self, settings: VaultSettings, session: VaultSession | None = None) -> None:
        self._settings = settings
        self.session = session or VaultSession(settings)
        self._kv: Leased[dict[str, str]] = Leased(self._read_kv)
        self._database: Leased[dict[str, str]] = Leased(self._read_database)
        self._database_lease: dict[str, Any] | None = None

    def secret(self, name: str) -> str:
        """SystemicError `credentials_missing` when the secret has no such key."""
        if name in _DATABASE and self._settings.database_role:
            return self._database.get()[name]
        return self._from(self._kv.get(), name)

    def object_store_keys(self) -> ObjectStoreKeys:
        """See `CredentialSource.object_store_keys`; both come from one version of the secret."""
        values = self._kv.get()
        return ObjectStoreKeys(
            self._from(values, "object_store_access_key"),
            self._from(values, "object_store_secret_key"),
        )

    def refused(self, name: str, value: str) -> None:
        """See `CredentialSource.refused`."""
        if name in _DATABASE:
            self._database_lease = None
            self._database.refused(lambda held: held.get(name) == value)
        else:
            self._kv.refused(lambda held: held.get(name) == value)

    def _from(self, values: Mapping[str, str], name: str) -> str:
        if name not in values:
            raise SystemicError(
                f"Vault has no {name} at {self._settings.mount}/{self._settings.path}.",
                remedy=f"write it there with `vault kv patch -mount={self._settings.mount}"
                f" {self._settings.path} {name}=-`.",
                code="credentials_missing",
            )
        return values[name]

    def _read_kv(self) -> Lease[dict[str, str]]:
        settings = self._settings
        answer = self.session.read(f"{settings.mount}/data/{settings.path}")
        values = (answer["data"] or {}).get("data") or {}
        return Lease(
            {str(key): str(value) for key, value in values.items()},
            settings.outage_seconds,
            MAX_AGE_SECONDS,
        )

    def _read_database(self) -> Lease[dict[str, str]]:
        held = self._database_lease
        if held is not None and held["renewable"]:
            try:
                answer = self.session.write("sys/leases/renew", {"lease_id": held["lease_id"]})
            except SystemicError:
                answer = {}
            granted = float(answer.get("lease_duration") or 0)
            if granted >= float(held["lease_duration"]) / 2:
                return Lease(_login_of(held), granted)
        answer = self.session.read(f"database/creds/{self._settings.database_role}")
        self._database_lease = answer
        return Lease(_login_of(answer), float(answer["lease_duration"]))


def _login_of(answer: dict[str, Any]) -> dict[str, str]:
    data = answer["data"]
    return {
        "database_username": str(data["username"]),
        "database_password": str(data["password"]),
    }
