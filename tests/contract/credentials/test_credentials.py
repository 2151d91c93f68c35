"""Where secrets come from: the environment, or Vault (OpenBao here)."""

import pytest

from media_pipeline.errors import SystemicError
from media_pipeline.settings import ObjectStoreSettings, Settings, VaultSettings
from resources.credentials import SettingsCredentials, VaultCredentials, credential_source

NAME = "object_store_access_key"


@pytest.fixture(params=["environment", "vault"])
def source(request):
    """A source that knows NAME = "key-1" and nothing else."""
    if request.param == "environment":
        return SettingsCredentials(Settings(object_store=ObjectStoreSettings(access_key="key-1")))
    stack = request.getfixturevalue("stack")
    client = vault(stack)
    client.secrets.kv.v2.create_or_update_secret(
        path="contract", secret={NAME: "key-1"}, mount_point="secret"
    )
    return VaultCredentials(settings(stack))


def settings(stack, **changes):
    fields = {"address": stack.vault_address, "token": stack.vault_token, "path": "contract"}
    return VaultSettings(**{**fields, **changes})


def vault(stack):
    import hvac

    return hvac.Client(url=stack.vault_address, token=stack.vault_token)


def test_a_known_secret(source):
    assert source.secret(NAME) == "key-1"


def test_a_missing_secret_names_itself(source):
    with pytest.raises(SystemicError, match="kafka_password") as caught:
        source.secret("kafka_password")
    assert caught.value.code == "credentials_missing"


def test_a_rotated_secret_is_seen_after_a_refusal(stack):
    client = vault(stack)
    write = client.secrets.kv.v2.create_or_update_secret
    write(path="rotated", secret={NAME: "old"}, mount_point="secret")
    source = VaultCredentials(settings(stack, path="rotated"))
    assert source.secret(NAME) == "old"
    write(path="rotated", secret={NAME: "new"}, mount_point="secret")
    assert source.secret(NAME) == "old"  # not asked at every use
    source.refresh()
    assert source.secret(NAME) == "new"


def test_a_refused_token_is_told_apart_from_a_vault_that_is_away(stack):
    with pytest.raises(SystemicError) as refused:
        VaultCredentials(settings(stack, token="wrong")).secret(NAME)
    assert refused.value.code == "credentials_refused"
    away = VaultCredentials(settings(stack, address="http://127.0.0.1:1"))
    with pytest.raises(SystemicError) as missing:
        away.secret(NAME)
    assert missing.value.code == "credentials_missing"


def test_an_outage_is_bridged_with_the_last_good_value(stack):
    client = vault(stack)
    client.secrets.kv.v2.create_or_update_secret(
        path="bridged", secret={NAME: "good"}, mount_point="secret"
    )
    source = VaultCredentials(settings(stack, path="bridged"))
    assert source.secret(NAME) == "good"
    source._settings = settings(stack, address="http://127.0.0.1:1")
    source.refresh()
    assert source.secret(NAME) == "good"


def test_vault_is_used_when_its_address_is_set(stack):
    assert isinstance(credential_source(Settings()), SettingsCredentials)
    with_vault = Settings(vault=settings(stack))
    assert isinstance(credential_source(with_vault), VaultCredentials)


def test_the_stack_keeps_its_own_credentials_in_vault(stack):
    source = VaultCredentials(settings(stack, path="media-pipeline"))
    assert source.secret("object_store_secret_key") == stack.s3_secret_key
