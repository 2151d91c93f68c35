"""Every way to log in to the event log, on the wire: the embedded broker behind a front that asks.

The front (tests/fakes/broker_front.py) speaks TLS and SASL as brokers do and passes the rest on.
"""

import logging
import socket
import threading
import uuid
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest

from media_pipeline.domain.ports import OutgoingEvent
from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.settings import KafkaSettings, Settings
from resources.credentials import SettingsCredentials
from resources.event_log import KafkaEventSource
from resources.event_log_client import client_options
from resources.event_log_login import SignedIn, sign_in
from resources.event_sink import KafkaEventSink
from tests.fakes.broker_front import MECHANISMS, BrokerFront, server_context
from tests.fakes.certificates import Authority
from tests.fakes.sasl_server import Users

PASSWORD, TOKEN = "a-pass-word-of-kafka", "a-token-of-somebody"
WRONG = "not-the-pass-word"


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """Files: two authorities, certificates of a broker and of clients."""
    folder = tmp_path_factory.mktemp("papers")
    ours, other = Authority(folder, "ours"), Authority(folder, "other")
    return SimpleNamespace(
        ca=str(ours.file),
        other_ca=str(other.file),
        broker=ours.issue("broker", host="127.0.0.1"),
        expired=ours.issue("expired", host="127.0.0.1", days=-1),
        client=ours.issue("client"),
        locked=ours.issue("locked", password="key-pass-word"),
        stranger=other.issue("stranger"),
    )


@pytest.fixture(scope="module")
def topic(stack):
    from kafka.admin import KafkaAdminClient, NewTopic

    name = f"login-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    admin.create_topics([NewTopic(name=name, num_partitions=1, replication_factor=1)])
    admin.close()
    return name


@pytest.fixture
def users():
    found = Users(media=PASSWORD)
    found.accepts_token = lambda token: token == TOKEN
    return found


@pytest.fixture
def front(stack, papers, users):
    with BrokerFront(
        stack.kafka_bootstrap, tls=server_context(*papers.broker), users=users
    ) as front:
        yield front


@pytest.fixture
def mutual(stack, papers):
    """A front that asks for certificates and for nothing else."""
    with BrokerFront(stack.kafka_bootstrap, tls=server_context(*papers.broker, papers.ca)) as front:
        yield front


def settings_for(front, papers, **changes) -> KafkaSettings:
    fields = {
        "bootstrap_servers": front.bootstrap, "unbatched": True, "request_timeout_seconds": 5,
        "security_protocol": "SASL_SSL", "ssl_cafile": papers.ca,
        "sasl_username": "media", "sasl_password": PASSWORD, "oauth_token": TOKEN,
    }  # fmt: skip
    return KafkaSettings(**{**fields, **changes})


@contextmanager
def both(settings):
    """(source, sink)."""
    credentials = SettingsCredentials(Settings(kafka=settings))
    source, sink = KafkaEventSource(settings, credentials), KafkaEventSink(settings, credentials)
    try:
        yield source, sink
    finally:
        source.close()
        sink.close()


def passes_through(settings, topic) -> None:
    """An event out, and in again; offsets of the group there and back."""
    marker = uuid.uuid4().hex.encode()
    with both(settings) as (source, sink):
        sink.publish([OutgoingEvent("1", topic, b"key", marker)])
        found = source.poll(topic, {}, max_records=1000, deadline_seconds=10)
        assert marker in {record.value for record in found.records}
        source.commit(topic, found.positions)
        assert source.committed(topic) == found.positions


def refusal(settings, topic) -> SystemicError:
    """The one error that publishing and reading give; neither takes long, nor quotes a secret."""
    errors = []
    with both(settings) as (source, sink):
        for call in (
            lambda: sink.publish([OutgoingEvent("1", topic, b"key", b"lost")]),
            lambda: source.poll(topic, {}, max_records=1, deadline_seconds=10),
        ):
            with pytest.raises(SystemicError) as caught:
                call()
            errors.append(caught.value)
    assert errors[0].code == errors[1].code
    for error in errors:
        assert error.remedy
        chain = repr([error, error.__cause__, error.__context__]) + str(error)
        assert not [one for one in (PASSWORD, TOKEN, WRONG, "key-pass-word") if one in chain]
    return errors[0]


# --- what works ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_each_mechanism(front, papers, topic, users, mechanism):
    passes_through(settings_for(front, papers, sasl_mechanism=mechanism), topic)
    assert set(users.logins) == {mechanism}
    assert not users.refusals


def test_a_password_without_tls(stack, papers, topic, users):
    with BrokerFront(stack.kafka_bootstrap, users=users) as front:
        settings = settings_for(front, papers, security_protocol="SASL_PLAINTEXT")
        passes_through(settings, topic)


@pytest.mark.parametrize("key", ["client", "locked"])
def test_mutual_tls(mutual, papers, topic, key):
    certificate, key_file = getattr(papers, key)
    settings = settings_for(
        mutual, papers, security_protocol="SSL", ssl_certfile=certificate, ssl_keyfile=key_file,
        ssl_key_encrypted=key == "locked", ssl_key_password="key-pass-word",
    )  # fmt: skip
    passes_through(settings, topic)


def test_a_broker_without_names_in_its_certificate(front, papers, topic):
    settings = settings_for(
        front, papers, bootstrap_servers=f"localhost:{front.port}", ssl_check_hostname=False
    )
    passes_through(settings, topic)


def test_brokers_that_are_away_or_broken_are_passed_over(stack, front, papers):
    with BrokerFront(stack.kafka_bootstrap, tls=server_context(*papers.expired)) as expired:
        servers = f"127.0.0.1:1,{expired.bootstrap},{front.bootstrap}"
        settings = settings_for(front, papers, bootstrap_servers=servers)
        options = client_options(settings, SettingsCredentials(Settings(kafka=settings)))
        assert sign_in(settings, options) == SignedIn(front.bootstrap)


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password_or_token(front, papers, topic, users, mechanism, caplog):
    caplog.set_level(logging.DEBUG, logger="media_pipeline")
    settings = settings_for(
        front, papers, sasl_mechanism=mechanism, sasl_password=WRONG, oauth_token=WRONG
    )
    error = refusal(settings, topic)
    assert error.code == "credentials_refused"
    assert mechanism in error.message
    assert "kafka_password" in error.remedy
    # Twice each, by hand: no client knocks on and on, which locks accounts.
    assert users.refusals == [mechanism] * 4
    assert WRONG not in caplog.text


def test_a_user_that_nobody_knows(front, papers, topic):
    assert refusal(settings_for(front, papers, sasl_username="who"), topic).code == (
        "credentials_refused"
    )


def test_a_mechanism_that_the_broker_does_not_offer(stack, papers, topic, users):
    with BrokerFront(
        stack.kafka_bootstrap, tls=server_context(*papers.broker), users=users,
        mechanisms=("SCRAM-SHA-256",),
    ) as front:  # fmt: skip
        error = refusal(settings_for(front, papers), topic)
    assert error.code == "sasl_mechanism"
    assert "knows no SCRAM-SHA-512, but SCRAM-SHA-256" in error.message


def test_an_untrusted_authority(front, papers, topic, users):
    error = refusal(settings_for(front, papers, ssl_cafile=papers.other_ca), topic)
    assert error.code == "tls_untrusted"
    assert "SSL_CAFILE" in error.remedy
    assert not users.logins
    assert not users.refusals, "no password goes to a stranger"


def test_another_host_name(front, papers, topic, users):
    settings = settings_for(front, papers, bootstrap_servers=f"localhost:{front.port}")
    error = refusal(settings, topic)
    assert error.code == "tls_wrong_host"
    assert "BOOTSTRAP_SERVERS" in error.remedy
    assert not users.refusals


def test_an_expired_certificate(stack, papers, topic):
    with BrokerFront(stack.kafka_bootstrap, tls=server_context(*papers.expired)) as front:
        error = refusal(settings_for(front, papers, security_protocol="SSL"), topic)
    assert error.code == "tls_expired"
    assert "clock" in error.remedy


@pytest.mark.parametrize("shown", [None, "stranger"])
def test_a_client_certificate_that_is_missing_or_not_theirs(mutual, papers, topic, shown):
    certificate, key = getattr(papers, shown) if shown else (None, None)
    settings = settings_for(
        mutual, papers, security_protocol="SSL", ssl_certfile=certificate, ssl_keyfile=key
    )
    error = refusal(settings, topic)
    assert error.code == "tls_client_refused"
    assert "SSL_CERTFILE" in error.remedy


@pytest.mark.parametrize("encrypted", [True, False], ids=["wrong password", "not told"])
def test_a_locked_key_is_not_asked_for_at_the_terminal(mutual, papers, topic, encrypted):
    certificate, key = papers.locked
    settings = settings_for(
        mutual, papers, security_protocol="SSL", ssl_certfile=certificate, ssl_keyfile=key,
        ssl_key_encrypted=encrypted, ssl_key_password="another",
    )  # fmt: skip
    error = refusal(settings, topic)
    assert error.code == "tls_files"
    assert "kafka_key_password" in error.remedy


def test_files_that_are_not_there(front, papers, topic):
    assert refusal(settings_for(front, papers, ssl_cafile="/nowhere.pem"), topic).code == (
        "tls_files"
    )


def test_listeners_that_speak_something_else(stack, front, papers, users):
    def found(bootstrap, protocol):
        settings = settings_for(
            front, papers, bootstrap_servers=bootstrap, security_protocol=protocol
        )
        options = client_options(settings, SettingsCredentials(Settings(kafka=settings)))
        with pytest.raises(SystemicError) as caught:
            sign_in(settings, options)
        return caught.value.code, caught.value.message

    with BrokerFront(stack.kafka_bootstrap, users=users) as no_tls:
        assert found(no_tls.bootstrap, "PLAINTEXT") == (
            "event_log_wrong_endpoint",
            f"{no_tls.bootstrap} hung up on PLAINTEXT: it probably wants TLS or a login.",
        )
    assert found(front.bootstrap, "PLAINTEXT")[0] == "event_log_wrong_endpoint"
    assert found(stack.s3_endpoint, "SASL_SSL")[0] == "event_log_wrong_endpoint"
    with BrokerFront(stack.kafka_bootstrap) as open_to_all:
        assert found(open_to_all.bootstrap, "SASL_PLAINTEXT") == (
            "event_log_wrong_endpoint",
            f"{open_to_all.bootstrap} asks for no login at this listener.",
        )


def test_a_listener_that_says_nothing_is_not_waited_for_for_ever(front, papers, topic):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = settings_for(
            front, papers, bootstrap_servers=f"127.0.0.1:{silent.getsockname()[1]}",
            request_timeout_seconds=0.3,
        )  # fmt: skip
        with both(settings) as (source, _), pytest.raises(TransientError) as caught:
            source.poll(topic, {}, max_records=1, deadline_seconds=1)
    assert caught.value.code == "event_log_unavailable"


def test_a_connection_that_ends_in_its_handshake_is_no_wrong_address(front, papers, topic):
    """A broker on its way down does that: it is tried again, and nobody is paged."""
    with socket.create_server(("127.0.0.1", 0)) as ending:

        def hang_up():
            with suppress(OSError):
                while True:
                    connection, _ = ending.accept()
                    connection.recv(1)
                    connection.shutdown(socket.SHUT_RDWR)
                    connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        settings = settings_for(
            front, papers, bootstrap_servers=f"127.0.0.1:{ending.getsockname()[1]}",
            request_timeout_seconds=0.3,
        )  # fmt: skip
        with both(settings) as (source, _), pytest.raises(TransientError) as caught:
            source.poll(topic, {}, max_records=1, deadline_seconds=1)
        ending.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert caught.value.code == "event_log_unavailable"


def test_an_impostor_who_knows_no_password_gets_no_event(stack, papers, topic, users):
    """SCRAM proves both sides: this one lets everybody in, and cannot prove that it knows us."""

    class Credulous(Users):
        def scram(self, mechanism, user):
            real = super().scram(mechanism, user)
            return type(real)(real.salt, real.stored_key, b"\0" * len(real.server_key))

    with BrokerFront(stack.kafka_bootstrap, users=Credulous(media=PASSWORD)) as front:
        settings = settings_for(front, papers, security_protocol="SASL_PLAINTEXT")
        assert refusal(settings, topic).code == "event_log_wrong_endpoint"


# --- what changes while a client lives ----------------------------------------------------------


class Changing:
    """Credentials that somebody rotates; nothing is kept of them."""

    def __init__(self):
        self.value = PASSWORD
        self.refusals = []

    def secret(self, name):
        return self.value

    def refused(self, name, value):
        self.refusals.append(name)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "OAUTHBEARER"])
def test_a_session_that_ends_goes_on_with_what_is_current(stack, papers, topic, users, mechanism):
    """Brokers may bound a session (connections.max.reauth.ms): it goes on after another login."""
    credentials = Changing()
    users.accepts_token = lambda token: token == credentials.value
    with BrokerFront(stack.kafka_bootstrap, users=users, session_seconds=1) as front:
        settings = settings_for(
            front, papers, security_protocol="SASL_PLAINTEXT", sasl_mechanism=mechanism
        )
        sink = KafkaEventSink(settings, credentials)
        sink.publish([OutgoingEvent("1", topic, b"key", b"before")])
        producer, before = sink._producer, len(users.logins)
        credentials.value = "the-next-one"
        users.set_password("media", "the-next-one")
        users.wait_for_logins(before + 1)
        sink.publish([OutgoingEvent("2", topic, b"key", b"after")])
        assert sink._producer is producer
        sink.close()
    assert not users.refusals
    assert not credentials.refusals
