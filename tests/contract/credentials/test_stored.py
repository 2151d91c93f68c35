"""Keys kept in a real OpenBao: rotations, outages, and logins to a real PostgreSQL made by it."""

import psycopg
import pytest

from media_pipeline.errors import SystemicError, TransientError
from resources.credentials import StoredCredentials
from tests.contract.credentials.test_vault_login import Clock


@pytest.fixture
def source(corner):
    corner.write(kafka_password="old", object_store_access_key="a", object_store_secret_key="b")
    return StoredCredentials(corner.settings(**corner.approle()))


def away(source, corner, address):
    source.session.api.settings = corner.settings(**{**corner.approle(), "address": address})


def test_a_rotated_secret_is_seen_after_a_refusal(source, corner):
    assert source.secret("kafka_password") == "old"
    corner.write(kafka_password="new")
    assert source.secret("kafka_password") == "old"  # not asked at every use
    source.refused("kafka_password", "another value")
    assert source.secret("kafka_password") == "old"  # somebody was refused with what is gone
    source.refused("kafka_password", "old")
    assert source.secret("kafka_password") == "new"


def test_keys_are_of_one_version(source):
    keys = source.object_store_keys()
    assert (keys.access_key, keys.secret_key, keys.session_token) == ("a", "b", None)


def test_an_outage_is_bridged_with_the_last_good_value_and_not_for_ever(
    source, corner, unreachable
):
    clock = Clock()
    source._kv._clock = clock
    assert source.secret("kafka_password") == "old"
    away(source, corner, unreachable)
    source.refused("kafka_password", "old")
    assert source.secret("kafka_password") == "old"
    clock.ahead += 3599
    assert source.secret("kafka_password") == "old"
    clock.ahead += 2
    with pytest.raises(TransientError):
        source.secret("kafka_password")


def test_a_policy_that_no_longer_reads_it_is_told(corner):
    corner.write(kafka_password="old")
    corner.policy("deny")
    with pytest.raises(SystemicError) as caught:
        StoredCredentials(corner.settings(**corner.approle())).secret("kafka_password")
    assert caught.value.code == "credentials_refused"


def test_an_empty_path_is_told(corner):
    with pytest.raises(SystemicError) as caught:
        StoredCredentials(corner.settings(**corner.approle())).secret("kafka_password")
    assert caught.value.code == "credentials_missing"


@pytest.fixture
def database(corner, stack):
    """A database engine that makes logins in the stack's PostgreSQL."""
    mounts = corner.client.sys.list_mounted_secrets_engines()["data"]
    if "database/" not in mounts:
        corner.client.sys.enable_secrets_engine("database")
    with psycopg.connect(stack.postgres_dsn, autocommit=True) as connection:
        connection.execute(f"create role {corner.name} login createrole password 'maker'")
    address = stack.postgres_dsn.rpartition("@")[2].partition("/")[0]
    corner.post(
        f"database/config/{corner.name}", plugin_name="postgresql-database-plugin",
        allowed_roles=corner.name, username=corner.name, password="maker",
        connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@{address}/media"
        "?sslmode=disable",
    )  # fmt: skip
    corner.post(
        f"database/roles/{corner.name}", db_name=corner.name, default_ttl="100s", max_ttl="150s",
        creation_statements=[
            "create role \"{{name}}\" login password '{{password}}' valid until '{{expiration}}';"
        ],
        revocation_statements=['drop role "{{name}}";'],
    )  # fmt: skip
    yield address
    corner.client.sys.revoke_prefix(f"database/creds/{corner.name}")
    with psycopg.connect(stack.postgres_dsn, autocommit=True) as connection:
        connection.execute(f"drop role {corner.name}")


def test_database_logins_are_made_renewed_and_replaced(corner, database):
    source = StoredCredentials(corner.settings(**corner.approle()))
    clock = Clock()
    source._database._clock = clock

    def login() -> tuple[str, str]:
        return source.secret("database_username"), source.secret("database_password")

    def connects(user: str, password: str) -> bool:
        try:
            psycopg.connect(
                f"postgresql://{user}:{password}@{database}/media", connect_timeout=5
            ).close()
        except psycopg.OperationalError:
            return False
        return True

    first = login()
    assert connects(*first)
    clock.ahead += 70
    assert login() == first  # its lease was renewed
    corner.client.sys.revoke_prefix(f"database/creds/{corner.name}")
    assert not connects(*first)
    source.refused("database_password", first[1])
    second = login()
    assert second != first
    assert connects(*second)
