"""Environment mode: the secrets that the process was started with."""

from __future__ import annotations

from media_pipeline.domain.ports import ObjectStoreKeys
from media_pipeline.errors import SystemicError
from media_pipeline.settings import Settings

#: Names of secrets; in Vault the keys of the kv secret.
NAMES = (
    "object_store_access_key",
    "object_store_secret_key",
    "ledger_token",
    "kafka_password",
    "kafka_token",
    "kafka_key_password",
)


class SettingsCredentials:
    """`CredentialSource` on `Settings`; nothing can be fetched anew."""

    def __init__(self, settings: Settings) -> None:
        self._values = {
            "object_store_access_key": settings.object_store.access_key,
            "object_store_secret_key": settings.object_store.secret_key,
            "ledger_token": settings.ledger.token,
            "kafka_password": settings.kafka.sasl_password,
            "kafka_token": settings.kafka.oauth_token,
            "kafka_key_password": settings.kafka.ssl_key_password,
        }

    def secret(self, name: str) -> str:
        """SystemicError `credentials_missing` naming what is not set."""
        value = self._values.get(name)
        if value is None:
            raise SystemicError(
                f"the credential {name} is not set.",
                remedy="set its MEDIA_PIPELINE_ variable (see the README's settings table), or"
                " MEDIA_PIPELINE_VAULT__ADDRESS and a way to log in.",
                code="credentials_missing",
            )
        return value.get_secret_value()

    def object_store_keys(self) -> ObjectStoreKeys:
        """See `CredentialSource.object_store_keys`."""
        return ObjectStoreKeys(
            self.secret("object_store_access_key"), self.secret("object_store_secret_key")
        )

    def refused(self, name: str, value: str) -> None:
        """A process keeps the environment that it was started with."""
