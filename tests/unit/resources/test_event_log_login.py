"""How the event log is logged in to: options per mechanism, and one more try after a refusal."""

from types import SimpleNamespace

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaTimeoutError, SaslAuthenticationFailedError
from kafka.net.sasl import get_sasl_mechanism
from kafka.net.sasl.oauth import AbstractTokenProvider

from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.settings import KafkaSettings, settings_of
from resources.dagster_resources import build_resources
from resources.event_log_client import client_options
from resources.event_log_resources import KAFKA_RESOURCE_FIELDS
from resources.event_log_secrets import register
from resources.event_sink import KafkaEventSink


class Rotating:
    """Credentials whose values change when somebody was refused."""

    def __init__(self):
        self.round = 1
        self.refusals = []

    def secret(self, name):
        return f"{name}-{self.round}"

    def refused(self, name, value):
        self.refusals.append((name, value))
        self.round += 1


def options(**fields):
    return client_options(KafkaSettings(**fields), Rotating())


def test_plaintext_carries_no_secret():
    assert not [name for name in options() if name.startswith(("sasl", "ssl"))]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
def test_passwords(mechanism, protocol):
    found = options(security_protocol=protocol, sasl_mechanism=mechanism, sasl_username="media")
    assert found["security_protocol"] == protocol
    assert found["sasl_mechanism"] == mechanism
    assert found["sasl_plain_username"] == "media"
    assert found["sasl_plain_password"].token() == "kafka_password-1"
    assert "kafka_password-1" not in repr(found)
    assert ("ssl_check_hostname" in found) == (protocol == "SASL_SSL")


def test_a_password_without_a_user_is_told():
    with pytest.raises(SystemicError, match="SASL_USERNAME"):
        options(security_protocol="SASL_SSL")


def test_oauthbearer_asks_for_the_token_at_each_connection():
    credentials = Rotating()
    settings = KafkaSettings(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER")
    found = client_options(settings, credentials)
    provider = found["sasl_oauth_token_provider"]
    assert isinstance(provider, AbstractTokenProvider)
    assert provider.token() == "kafka_token-1"
    provider.accepted()
    credentials.round = 2
    assert provider.token() == "kafka_token-2"
    assert "sasl_plain_password" not in found


def test_mutual_tls():
    found = options(
        security_protocol="SSL", ssl_cafile="/ca.pem", ssl_certfile="/me.pem",
        ssl_keyfile="/me.key", ssl_key_encrypted=True,
    )  # fmt: skip
    wanted = {
        "ssl_cafile": "/ca.pem", "ssl_certfile": "/me.pem", "ssl_keyfile": "/me.key",
        "ssl_password": "kafka_key_password-1", "ssl_check_hostname": True,
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted
    assert not [name for name in found if name.startswith("sasl")]


def test_the_password_of_a_key_is_never_asked_for_at_a_terminal():
    found = options(security_protocol="SSL", ssl_certfile="/me.pem", ssl_keyfile="/me.key")
    assert found["ssl_password"] == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "u"},
        {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"},
        {"security_protocol": "SSL", "ssl_check_hostname": False},
    ],
)
def test_the_library_knows_every_option(fields):
    with pytest.raises(KafkaTimeoutError):
        KafkaConsumer(
            **client_options(
                KafkaSettings(
                    bootstrap_servers="127.0.0.1:1", request_timeout_seconds=0.2, **fields
                ),
                Rotating(),
            ),
            group_id=None,
            fetch_max_wait_ms=100,
        )


def test_every_setting_of_the_connection_reaches_the_resource():
    settings = settings_of(
        {
            "MEDIA_PIPELINE_KAFKA__SECURITY_PROTOCOL": "SSL",
            "MEDIA_PIPELINE_KAFKA__SSL_CERTFILE": "/me.pem",
        }
    )
    resource = build_resources(settings)["event_source"]
    for name in KAFKA_RESOURCE_FIELDS:
        assert getattr(resource, name) == getattr(settings.kafka, name), name


@pytest.mark.parametrize(
    ("mechanism", "option", "name"),
    [
        ("SCRAM-SHA-512", "sasl_plain_password", "kafka_password"),
        ("OAUTHBEARER", "sasl_oauth_token_provider", "kafka_token"),
    ],
)
def test_what_did_not_get_in_is_fetched_anew(mechanism, option, name):
    credentials = Rotating()
    settings = KafkaSettings(
        security_protocol="SASL_SSL", sasl_mechanism=mechanism, sasl_username="media"
    )
    secret = client_options(settings, credentials)[option]
    assert secret.token() == f"{name}-1"
    secret.accepted()
    assert secret.token() == f"{name}-1"
    assert not credentials.refusals
    assert secret.token() == f"{name}-2", "asked again without having got in"
    assert credentials.refusals == [(name, f"{name}-1")]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_clients_of_others_keep_their_passwords(mechanism):
    register()
    given = {"sasl_plain_username": "u", "sasl_plain_password": "p", "sasl_mechanism": mechanism}
    login = get_sasl_mechanism(mechanism)(**given)
    assert b"u" in login.auth_bytes()
    assert not login.is_authenticated()


def test_a_client_that_is_refused_in_the_middle_is_made_anew():
    sink = KafkaEventSink(KafkaSettings(), Rotating())
    seen = []

    def publish():
        seen.append(sink._producer)
        if len(seen) == 1:
            raise SaslAuthenticationFailedError("no")
        return "done"

    sink._producer = SimpleNamespace(close=lambda timeout: None)
    assert sink._talk("publishing", publish) == "done"
    assert seen[1] is None


def test_a_login_that_stays_refused_is_systemic_and_quotes_no_secret():
    sink = KafkaEventSink(KafkaSettings(), Rotating())

    def publish():
        raise SaslAuthenticationFailedError("kafka_password-1 is wrong")

    with pytest.raises(SystemicError) as caught:
        sink._talk("publishing", publish)
    assert caught.value.code == "credentials_refused"
    assert "kafka_password-1" not in str(caught.value)


def test_a_broken_connection_drops_the_client():
    sink = KafkaEventSink(KafkaSettings(), Rotating())
    closed = []

    class Producer:
        def close(self, timeout):
            closed.append(timeout)

    sink._producer = Producer()

    def publish():
        raise KafkaTimeoutError

    with pytest.raises(TransientError):
        sink._talk("publishing", publish)
    assert len(closed) == 1
