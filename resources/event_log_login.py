"""One login to a broker by hand, to learn what a login that fails fails of.

kafka-python says "unable to bootstrap" after its time-out whether the broker is away, is not
trusted, wants another certificate, or refuses the password. Here each has its own code.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import errors
from kafka.cluster import collect_hosts
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.broker_version_data import BrokerVersionData
from kafka.protocol.metadata import ApiVersionsRequest, MetadataRequest
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from media_pipeline.errors import MediaPipelineError, SystemicError, TransientError
from media_pipeline.settings import KafkaSettings

_P = "MEDIA_PIPELINE_KAFKA__"
_OTHER_HOST, _WRONG_TIME = (62, 63, 64), (9, 10)  # X509_V_ERR_*
_ALERT_SECONDS = 2.0
#: Of one answer; a stranger's first bytes would mean far more.
_MAX_FRAME = 16 * 1024 * 1024


class _RefusedError(SystemicError):
    """Worth one more try with a fresh password or token."""


class _HungUpError(Exception):
    """The other side ended the connection."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """`where` is the address of the broker that let us in; "" when nobody listens. `topics`: name
    of kafka-python's error class by topic that was asked for and is not open to us."""

    where: str
    topics: Mapping[str, str] = field(default_factory=dict)


def sign_in(
    settings: KafkaSettings, options: dict[str, Any], topics: Sequence[str] = ()
) -> SignedIn:
    """Log in at the first broker that can be reached, ask about `topics`, and leave again.

    When nobody listens it is the client that waits. Whoever is refused tries once more with what
    is current then. SystemicError `credentials_refused`, `sasl_mechanism`, `tls_files`,
    `tls_untrusted`, `tls_wrong_host`, `tls_expired`, `tls_client_refused`,
    `event_log_wrong_endpoint`; TransientError for brokers that take a connection and say nothing,
    with which a client would wait for ever. `options`: of `event_log_client.client_options`.
    """
    try:
        return _sign_in(settings, options, topics)
    except _RefusedError:
        return _sign_in(settings, options, topics)  # the secret knows that it was refused


def _sign_in(settings: KafkaSettings, options: dict[str, Any], topics: Sequence[str]) -> SignedIn:
    context = _context(settings, options) if settings.security_protocol.endswith("SSL") else None
    trouble: MediaPipelineError | None = None
    for host, port, _ in collect_hosts(options["bootstrap_servers"], randomize=False):
        where = f"{host}:{port}"
        try:
            return SignedIn(where, _converse(settings, options, (host, port), context, topics))
        except _RefusedError:
            raise  # all brokers know the same users
        except MediaPipelineError as error:
            trouble = trouble or error  # of one broker, perhaps
        except (TimeoutError, ssl.SSLEOFError):
            trouble = trouble or TransientError(
                f"{where} did not answer a login within {settings.request_timeout_seconds:g} s.",
                remedy="check the brokers' health and load, and that this port speaks"
                f" {settings.security_protocol}; it is tried again.",
                code="event_log_unavailable",
            )
        except (OSError, _HungUpError):
            continue
    if trouble is not None:
        raise trouble
    return SignedIn("")


def _context(settings: KafkaSettings, options: dict[str, Any]) -> ssl.SSLContext:
    """As kafka-python makes it for each connection, from the same options."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = options["ssl_check_hostname"]
    file = settings.ssl_cafile
    try:
        if file:
            context.load_verify_locations(file)
        else:
            context.load_default_certs()
        file = settings.ssl_certfile
        if file:
            context.load_cert_chain(
                file, settings.ssl_keyfile, password=options.get("ssl_password")
            )
    except (OSError, ValueError) as error:  # ssl.SSLError among them
        raise SystemicError(
            f"the TLS files of the event log cannot be used ({file}): {_kind(error)}.",
            remedy=f"check {_P}SSL_CAFILE, SSL_CERTFILE and SSL_KEYFILE; a key that is encrypted"
            f" needs {_P}SSL_KEY_ENCRYPTED and kafka_key_password.",
            code="tls_files",
        ) from error
    return context


def _converse(
    settings: KafkaSettings,
    options: dict[str, Any],
    address: tuple[str, int],
    context: ssl.SSLContext | None,
    topics: Sequence[str],
) -> dict[str, str]:
    with _connected(settings, address, context) as connection:
        talk = _Talk(connection, f"{address[0]}:{address[1]}", settings)
        try:
            if settings.security_protocol.startswith("SASL"):
                _authenticate(talk, settings, options)
                return _metadata(talk, topics) if topics else {}
            return _ask_without_login(talk, topics)
        except (_HungUpError, ConnectionError, ssl.SSLError) as error:
            if "ALERT" in (getattr(error, "reason", None) or ""):
                raise _tls_refused(talk.where, error) from error
            if context is not None:
                _listen_for_alert(settings, address, context)
            raise


@contextlib.contextmanager
def _connected(
    settings: KafkaSettings, address: tuple[str, int], context: ssl.SSLContext | None
) -> Iterator[socket.socket]:
    host, port = address
    timeout = settings.request_timeout_seconds
    with socket.create_connection((host, port), timeout) as plain:
        if context is None:
            yield plain
            return
        where = f"{host}:{port}"
        try:
            secured = context.wrap_socket(plain, server_hostname=host.rstrip("."))
        except ssl.SSLCertVerificationError as error:
            raise _not_verified(where, error) from error
        except ssl.SSLEOFError:
            raise  # on its way down, or no TLS at all
        except ssl.SSLError as error:
            raise _tls_refused(where, error) from error
        with secured:
            yield secured


def _not_verified(where: str, error: ssl.SSLCertVerificationError) -> SystemicError:
    said = f"the certificate of {where} is not accepted: {error.verify_message.rstrip('.')}."
    if error.verify_code in _OTHER_HOST:
        return SystemicError(
            said,
            remedy=f"name the broker in {_P}BOOTSTRAP_SERVERS as its certificate does; should the"
            " name be right, something else answers there.",
            code="tls_wrong_host",
        )
    if error.verify_code in _WRONG_TIME:
        return SystemicError(
            said,
            remedy="renew the broker's certificate, or mend the clock of this host.",
            code="tls_expired",
        )
    return SystemicError(
        said,
        remedy=f"set {_P}SSL_CAFILE to the CA that signed it; should that be right, something"
        " else answers there.",
        code="tls_untrusted",
    )


def _tls_refused(where: str, error: Exception) -> SystemicError:
    reason = getattr(error, "reason", None) or "no reason given"
    if "ALERT" in reason:
        return SystemicError(
            f"{where} ended the TLS handshake: {reason}.",
            remedy=f"give {_P}SSL_CERTFILE and SSL_KEYFILE a certificate that the broker's CA"
            " signed and that is still valid.",
            code="tls_client_refused",
        )
    return _wrong_endpoint(where, f"does not speak TLS ({reason})")


def _listen_for_alert(
    settings: KafkaSettings, address: tuple[str, int], context: ssl.SSLContext
) -> None:
    """In TLS 1.3 a client learns after its handshake that its certificate was refused, and loses
    even that when it has sent something meanwhile. So: once more, in silence."""
    with _connected(settings, address, context) as connection:
        connection.settimeout(_ALERT_SECONDS)
        try:
            connection.recv(1)
        except ssl.SSLError as error:
            if "ALERT" in (error.reason or ""):
                raise _tls_refused(f"{address[0]}:{address[1]}", error) from error
        except OSError:
            return


class _Talk:
    """Requests and answers, one at a time."""

    def __init__(self, connection: socket.socket, where: str, settings: KafkaSettings) -> None:
        self.where = where
        self.protocol = settings.security_protocol
        self._connection = connection
        self._parser = KafkaProtocol(
            client_id=settings.group_id, receive_message_max_bytes=_MAX_FRAME
        )

    def ask(self, request: Any, version: int) -> Any:
        """The decoded answer; _HungUpError when there is none."""
        request.API_VERSION = version
        self._parser.send_request(request)
        self._connection.sendall(self._parser.send_bytes())
        while True:
            received = self._connection.recv(65536)
            if not received:
                raise _HungUpError
            try:
                answers = self._parser.receive_bytes(received)
            except (errors.KafkaError, struct.error, ValueError, IndexError) as error:
                raise _wrong_endpoint(
                    self.where, f"does not answer like a broker that expects {self.protocol}"
                ) from error
            if answers:
                return answers[0][1]


def _ask_without_login(talk: _Talk, topics: Sequence[str]) -> dict[str, str]:
    """Anybody may ask for versions; a listener that wants a login ends at the next request."""
    if talk.protocol != "PLAINTEXT":
        _versions(talk)  # a first hang-up is about certificates
    try:
        return _metadata(talk, topics)
    except (_HungUpError, ConnectionError, ssl.SSLEOFError) as error:
        raise _wrong_endpoint(
            talk.where, f"hung up on {talk.protocol}: it probably wants TLS or a login"
        ) from error


def _versions(talk: _Talk) -> BrokerVersionData:
    told = talk.ask(ApiVersionsRequest(), 0)
    known = {one.api_key: (one.min_version, one.max_version) for one in told.api_keys}
    return BrokerVersionData(api_versions=known)


def _metadata(talk: _Talk, topics: Sequence[str]) -> dict[str, str]:
    """See `SignedIn.topics`."""
    asked = [MetadataRequest.MetadataRequestTopic(name=name) for name in topics]
    request = MetadataRequest(topics=asked, allow_auto_topic_creation=False)
    told = talk.ask(request, _versions(talk).api_version(request))
    found = {one.name: errors.for_code(one.error_code).__name__ for one in told.topics}
    return {name: error for name, error in found.items() if error != errors.NoError.__name__}


def _authenticate(talk: _Talk, settings: KafkaSettings, options: dict[str, Any]) -> None:
    name = settings.sasl_mechanism
    answer = talk.ask(SaslHandshakeRequest(mechanism=name), 1)
    if answer.error_code == errors.UnsupportedSaslMechanismError.errno:
        raise SystemicError(
            f"{talk.where} knows no {name}, but {', '.join(answer.mechanisms) or 'nothing'}.",
            remedy=f"correct {_P}SASL_MECHANISM, or enable it for this listener of the broker.",
            code="sasl_mechanism",
        )
    if answer.error_code:
        raise _wrong_endpoint(talk.where, "asks for no login at this listener")
    mechanism = get_sasl_mechanism(name)(**options, host=talk.where.rpartition(":")[0])
    while not mechanism.is_done():
        answer = talk.ask(SaslAuthenticateRequest(mechanism.auth_bytes()), 1)
        if answer.error_code:
            raise _RefusedError(
                f"{talk.where} refused our login by {name}.",
                remedy="check user name and kafka_password or kafka_token, and the broker's users.",
                code="credentials_refused",
            )
        try:
            mechanism.receive(answer.auth_bytes)
        except (ValueError, KeyError) as error:
            raise _wrong_endpoint(
                talk.where, f"does not prove that it knows us ({name})"
            ) from error
    mechanism.is_authenticated()


def _wrong_endpoint(where: str, does: str) -> SystemicError:
    return SystemicError(
        f"{where} {does}.",
        remedy=f"check {_P}BOOTSTRAP_SERVERS and {_P}SECURITY_PROTOCOL: each listener of a broker"
        " has its own port.",
        code="event_log_wrong_endpoint",
    )


def _kind(error: Exception) -> str:
    """What happened, in the words of the library, which quote no secret."""
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
