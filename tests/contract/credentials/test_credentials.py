"""What every credential source must do: the environment, and both ways of a real OpenBao."""

import pytest

from media_pipeline.domain.ports import ObjectStoreKeys
from media_pipeline.errors import SystemicError
from media_pipeline.settings import (
    KafkaSettings,
    LedgerSettings,
    ObjectStoreSettings,
    Settings,
    VaultSettings,
)
from resources.credentials import (
    SettingsCredentials,
    StoredCredentials,
    WorkloadIdentity,
    credential_source,
)


@pytest.fixture(params=["environment", "stored", "workload_identity"])
def source(request):
    """A source that has everything but `kafka_key_password`."""
    if request.param == "environment":
        return SettingsCredentials(
            Settings(
                object_store=ObjectStoreSettings(access_key="key-1", secret_key="secret-1"),
                ledger=LedgerSettings(token="token-1"),
                kafka=KafkaSettings(sasl_password="password-1"),
            )
        )
    corner = request.getfixturevalue("corner")
    corner.write(
        object_store_access_key="key-1", object_store_secret_key="secret-1",
        ledger_token="token-1", kafka_password="password-1",
    )  # fmt: skip
    if request.param == "stored":
        return StoredCredentials(corner.settings(**corner.approle()))
    settings = corner.stack.settings()
    vault = settings.vault.model_copy(update={"path": corner.name})
    corner.client.sys.create_or_update_acl_policy(
        "media-pipeline",
        corner.client.sys.read_policy("media-pipeline")["data"]["rules"]
        + f'\npath "secret/data/{corner.name}" {{ capabilities = ["read"] }}',
    )
    return WorkloadIdentity(vault, settings.object_store)


def test_every_secret_that_is_there(source):
    assert source.secret("ledger_token")
    assert source.secret("kafka_password") == "password-1"
    keys = source.object_store_keys()
    assert keys.access_key
    assert keys.secret_key


def test_a_missing_secret_names_itself(source):
    with pytest.raises(SystemicError, match="kafka_key_password") as caught:
        source.secret("kafka_key_password")
    assert caught.value.code == "credentials_missing"


def test_a_refused_value_is_no_end(source):
    """Whatever is refused, the source goes on answering."""
    source.refused("ledger_token", source.secret("ledger_token"))
    source.refused("object_store_access_key", source.object_store_keys().access_key)
    source.refused("kafka_password", "what nobody holds")
    assert source.secret("ledger_token")
    assert source.object_store_keys().secret_key


def test_nothing_secret_is_shown_by_accident(source):
    keys = source.object_store_keys()
    shown = f"{source!r} {keys!r} {keys} {vars(source)}"
    for one in (keys.secret_key, keys.session_token, source.secret("ledger_token")):
        assert one is None or one not in shown
    assert ObjectStoreKeys("a", "hidden-1", "hidden-2").__repr__().count("hidden") == 0


def test_the_source_follows_from_the_settings_and_is_shared(stack):
    assert isinstance(credential_source(Settings()), SettingsCredentials)
    stored = Settings(vault=VaultSettings(address=stack.vault_address, token=stack.vault_token))
    assert isinstance(credential_source(stored), StoredCredentials)
    ours = credential_source(stack.settings())
    assert isinstance(ours, WorkloadIdentity)
    # A sensor builds its resources at each tick; a login at each tick would drown Vault.
    assert credential_source(stack.settings()) is ours
    other = stored.model_copy(update={"vault": stored.vault.model_copy(update={"token": "x"})})
    assert credential_source(other) is not credential_source(stored)
