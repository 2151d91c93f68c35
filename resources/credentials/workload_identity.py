"""One identity for everything: Vault signs who this workload is, the others believe it."""

from __future__ import annotations

from media_pipeline.domain.ports import ObjectStoreKeys
from media_pipeline.errors import SystemicError
from media_pipeline.settings import ObjectStoreSettings, VaultSettings
from resources.credentials.leases import Lease, Leased
from resources.credentials.object_store_sts import assume_role
from resources.credentials.stored import StoredCredentials
from resources.credentials.vault_session import VaultSession


class WorkloadIdentity:
    """`CredentialSource` without stored keys.

    `ledger_token` and `kafka_token` are identity tokens of Vault; keys of the object store are
    what its STS gives for one. Other names (`kafka_password`) are read from kv when asked for.
    """

    def __init__(
        self,
        vault: VaultSettings,
        object_store: ObjectStoreSettings,
        session: VaultSession | None = None,
    ) -> None:
        self._object_store = object_store
        self._stored = StoredCredentials(vault, session)
        self.session = self._stored.session
        kafka_role = vault.kafka_identity_role or vault.identity_role
        self._tokens = {
            "ledger_token": Leased(lambda: self._identity(vault.identity_role)),
            "kafka_token": Leased(lambda: self._identity(kafka_role)),
        }
        self.keys: Leased[ObjectStoreKeys] = Leased(self._assume_role)

    def secret(self, name: str) -> str:
        """See `CredentialSource.secret`."""
        leased = self._tokens.get(name)
        return self._stored.secret(name) if leased is None else leased.get()

    def object_store_keys(self) -> ObjectStoreKeys:
        """Temporary keys, renewed well before they end."""
        return self.keys.get()

    def refused(self, name: str, value: str) -> None:
        """See `CredentialSource.refused`."""
        if name == "object_store_access_key":
            self.keys.refused(lambda held: held.access_key == value)
        elif name in self._tokens:
            self._tokens[name].refused(lambda held: held == value)
        else:
            self._stored.refused(name, value)

    def _identity(self, role: str) -> Lease[str]:
        data = self.session.read(f"identity/oidc/token/{role}")["data"]
        return Lease(str(data["token"]), float(data["ttl"]))

    def _assume_role(self) -> Lease[ObjectStoreKeys]:
        tokens = self._tokens["ledger_token"]
        token = tokens.get()
        try:
            return assume_role(self._object_store, token)
        except SystemicError:
            # Signed with a key that was withdrawn since: a new token is signed with its successor.
            tokens.refused(lambda held: held == token)
            newer = tokens.get()
            if newer == token:
                raise
            return assume_role(self._object_store, newer)
