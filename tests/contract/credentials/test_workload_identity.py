"""One identity: OpenBao signs it, SeaweedFS's STS and PostgREST's stand-in believe it."""

import io
import json

import jwt
import pytest
import requests
from pydantic import SecretStr

from media_pipeline.domain.media_asset import SourceObject
from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.local_stack import vault
from media_pipeline.settings import ObjectStoreSettings, Settings
from resources.credentials import SettingsCredentials, WorkloadIdentity
from resources.credentials.object_store_sts import assume_role
from resources.event_log import KafkaEventSource
from resources.object_store import S3ObjectStore
from resources.postgrest_client import PostgrestClient
from tests.fakes.broker_front import BrokerFront
from tests.fakes.sasl_server import Users


@pytest.fixture
def settings(stack):
    return stack.settings()


@pytest.fixture
def identity(settings):
    return WorkloadIdentity(settings.vault, settings.object_store)


def test_the_ledger_believes_the_token(identity, settings, stack):
    token = identity.secret("ledger_token")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["role"], claims["aud"]) == ("media_writer", "media-pipeline")
    assert jwt.get_unverified_header(token)["alg"] == "RS256"
    client = PostgrestClient(settings.ledger.url, identity, schema="media")
    assert client.call("counts", {}) is not None
    forged = jwt.encode(claims, "guessed", algorithm="HS256")
    answer = requests.post(
        f"{stack.ledger_url}/rpc/counts", json={},
        headers={"Content-Profile": "media", "Authorization": f"Bearer {forged}"}, timeout=10,
    )  # fmt: skip
    assert (answer.status_code, answer.json()["code"]) == (401, "PGRST301")


def test_the_store_gives_temporary_keys_for_it(identity, settings, tmp_path):
    keys = identity.object_store_keys()
    assert keys.session_token
    assert 3500 < identity.keys.seconds_left() <= 3601
    assert identity.object_store_keys() is keys
    store = S3ObjectStore(settings.object_store, identity)
    store.probe()
    store.upload("media", "identity/x", b"data", None)
    found = store.fetch(SourceObject("media", "identity/x"), tmp_path / "x", max_bytes=10)
    assert found.size_bytes == 4
    store.put("identity/large", b"x" * (6 * 1024 * 1024), "text/plain")  # in several parts
    assert len(store.get("identity/large")) == 6 * 1024 * 1024


def test_the_keys_open_nothing_else(identity, stack):
    import urllib3
    from minio import Minio
    from minio.error import S3Error

    keys = identity.object_store_keys()
    client = Minio(
        endpoint=stack.s3_endpoint, access_key=keys.access_key, secret_key=keys.secret_key,
        session_token=keys.session_token, secure=False, region="us-east-1",
        http_client=urllib3.PoolManager(retries=False, timeout=10),
    )  # fmt: skip
    denied = [
        lambda: list(client.list_objects(bucket_name="kafka")),
        lambda: client.make_bucket(bucket_name="mine"),
        lambda: client.remove_bucket(bucket_name="media"),
        lambda: client.remove_object(bucket_name="media", object_name="identity/x"),
        lambda: client.put_object(
            bucket_name="kafka", object_name="x", data=io.BytesIO(b"x"), length=1
        ),
    ]
    for action in denied:
        with pytest.raises(S3Error) as caught:
            action()
        assert caught.value.code == "AccessDenied"


def test_kafka_believes_the_token(identity, settings, stack):
    """OAUTHBEARER: whoever checks the signature by Vault's published keys needs no password."""

    def is_vaults(token):
        keys = jwt.PyJWKSet(vault.public_keys(stack.vault_address))
        try:
            jwt.decode(
                token, keys[jwt.get_unverified_header(token)["kid"]], algorithms=["RS256"],
                audience=vault.WORKLOAD,
            )  # fmt: skip
        except (jwt.PyJWTError, KeyError):
            return False
        return True

    users = Users()
    users.accepts_token = is_vaults
    with BrokerFront(stack.kafka_bootstrap, users=users) as front:
        kafka = settings.kafka.model_copy(
            update={
                "bootstrap_servers": front.bootstrap,
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "OAUTHBEARER",
            }
        )
        source = KafkaEventSource(kafka, identity)
        assert source.spans(kafka.ingested_topic)
        source.close()
        assert not users.refusals
        forged = SettingsCredentials(
            Settings(kafka=kafka.model_copy(update={"oauth_token": SecretStr("x.y.z")}))
        )
        with pytest.raises(SystemicError) as caught:
            KafkaEventSource(kafka, forged).spans(kafka.ingested_topic)
    assert caught.value.code == "credentials_refused"


def test_refused_keys_are_replaced_and_the_call_goes_through(identity, settings, monkeypatch):
    """The keys of a session that the store no longer knows: what an expired one looks like too."""
    from media_pipeline.domain.ports import ObjectStoreKeys

    store = S3ObjectStore(settings.object_store, identity)
    good = identity.object_store_keys()
    identity.keys._held = (ObjectStoreKeys("ASIAgone", "gone", good.session_token), 1e12)
    store.put("identity/again", b"x", "text/plain")
    assert identity.object_store_keys().access_key not in ("ASIAgone", good.access_key)


@pytest.mark.parametrize("token", ["", "not.a.token", "tampered"])
def test_a_token_that_is_not_vaults_gets_no_keys(identity, settings, token):
    if token == "tampered":
        token = identity.secret("ledger_token")[:-6] + "AAAAAA"
    with pytest.raises(SystemicError) as caught:
        assume_role(settings.object_store, token)
    assert caught.value.code == "sts_refused"
    assert token == "" or token not in str(caught.value)


def test_another_role_is_not_for_this_identity(identity, settings):
    other = settings.object_store.model_copy(update={"sts_role_arn": "arn:aws:iam::role/admin"})
    with pytest.raises(SystemicError) as caught:
        assume_role(other, identity.secret("ledger_token"))
    assert caught.value.code == "sts_refused"


def test_wrong_endpoints_are_told_apart(identity, settings, stack, unreachable):
    token = identity.secret("ledger_token")
    away = settings.object_store.model_copy(update={"sts_endpoint": unreachable})
    with pytest.raises(TransientError):
        assume_role(away, token)
    other = settings.object_store.model_copy(update={"sts_endpoint": stack.vault_address})
    with pytest.raises(SystemicError) as caught:
        assume_role(other, token)
    assert caught.value.code == "sts_wrong_endpoint"


def test_the_token_stands_in_no_address_and_is_not_carried_on_by_a_redirect(monkeypatch):
    asked = {}

    class Answer:
        status_code, ok, text, headers = 302, True, "<a/>", {}

    def post(url, **options):
        asked.update(options, url=url)
        return Answer()

    monkeypatch.setattr(requests, "post", post)
    with pytest.raises(SystemicError) as caught:
        assume_role(ObjectStoreSettings(endpoint="store:9000"), "secret-token")
    assert caught.value.code == "sts_wrong_endpoint"
    assert asked["url"] == "https://store:9000/"
    assert asked["allow_redirects"] is False
    assert asked["data"]["WebIdentityToken"] == "secret-token"


def test_an_identity_that_is_not_ours_is_refused_by_vault(settings):
    vault = settings.vault.model_copy(update={"identity_role": "somebody-else"})
    with pytest.raises(SystemicError) as caught:
        WorkloadIdentity(vault, settings.object_store).secret("ledger_token")
    assert caught.value.code == "credentials_refused"


def test_the_keys_for_postgrest_are_written_once_and_again_after_a_rotation(
    corner, stack, tmp_path, monkeypatch
):
    from typer.testing import CliRunner

    from media_pipeline.cli.main import app

    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    own, output = tmp_path / "own.json", tmp_path / "keys.json"
    own.write_text('{"keys": [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]}')

    def run() -> str:
        done = CliRunner().invoke(app, ["identity-keys", str(output), "--keep", str(own)])
        assert done.exit_code == 0
        return done.stdout

    assert "changed: now NOTIFY" in run()
    assert "unchanged" in run()
    assert output.stat().st_mode & 0o007 == 0
    corner.post(f"identity/oidc/key/{corner.name}", algorithm="RS256", allowed_client_ids=["*"])
    corner.post(f"identity/oidc/role/{corner.name}", key=corner.name)
    before = len(json.loads(output.read_text())["keys"])
    assert "changed: now NOTIFY" in run()
    keys = json.loads(output.read_text())["keys"]
    assert len(keys) > before
    assert keys[0]["kty"] == "oct"
