"""An authenticating front before a broker that has none: TLS, SASL, and addresses of its own.

Everything after the login is the broker's. Answers that name brokers are rewritten, so that
clients stay here. One thread per connection, one request at a time: a broker answers in order.
"""

import contextlib
import math
import socket
import ssl
import struct
import threading
import time
from collections.abc import Collection
from typing import Self

from kafka.protocol.metadata import (
    ApiVersionsResponse,
    FindCoordinatorResponse,
    MetadataRequest,
    MetadataResponse,
)
from kafka.protocol.sasl import (
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)

from tests.fakes.sasl_server import Login, RefusedError, Users

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
HOST = "127.0.0.1"
_HANDSHAKE, _API_VERSIONS, _AUTHENTICATE = 17, 18, 36
_UNSUPPORTED_MECHANISM, _ILLEGAL_STATE, _FAILED, _TOPIC_DENIED = 33, 34, 58, 29


class BrokerFront:
    """Listens from `start` to `stop`. `tls`: a server's SSL context; `users`: asks for a login.

    `session_seconds`: clients must log in again within it (KIP-368); 0: never.
    """

    def __init__(
        self,
        broker: str,
        *,
        tls: ssl.SSLContext | None = None,
        users: Users | None = None,
        mechanisms: Collection[str] = MECHANISMS,
        session_seconds: float = 0,
    ):
        self._broker = broker.rpartition(":")[::2]
        self._tls, self.users, self._mechanisms = tls, users, mechanisms
        self._session_ms = int(session_seconds * 1000)
        #: Topics that no ACL opens to anybody.
        self.denied: set[str] = set()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.bootstrap = f"{HOST}:{self.port}"

    def start(self) -> Self:
        self._begin(self._accept)
        return self

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()
        for thread in self._threads:
            thread.join(10)

    def drop_connections(self) -> None:
        """What a restart of the broker does to its clients."""
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _begin(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # stopped
            self._begin(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), contextlib.ExitStack() as stack:
            if self._tls is not None:
                client.settimeout(10)
                client = self._tls.wrap_socket(client, server_side=True)
                client.settimeout(None)
            stack.enter_context(self._known(client))
            broker = socket.create_connection((self._broker[0], int(self._broker[1])))
            stack.enter_context(self._known(broker))
            _Conversation(self, client, broker).run()

    @contextlib.contextmanager
    def _known(self, one: socket.socket):
        with self._lock:
            self._open.add(one)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(one)
            one.close()


class _Conversation:
    def __init__(self, front: BrokerFront, client: socket.socket, broker: socket.socket):
        self._front, self._client, self._broker = front, client, broker
        self._mechanism = ""
        self._login: Login | None = None
        self._is_in = front.users is None
        self._ends = math.inf

    def run(self) -> None:
        while True:
            request = _frame(self._client)
            api, version, _ = struct.unpack_from(">hhi", request)
            if api == _HANDSHAKE:
                self._handshake(request, version)
            elif api == _AUTHENTICATE:
                self._authenticate(request, version)
            elif (self._is_in and time.monotonic() < self._ends) or api == _API_VERSIONS:
                _send(self._broker, request)
                answer = self._translated(api, version, request, _frame(self._broker))
                _send(self._client, answer)
            else:
                raise EOFError  # brokers hang up on whoever asks before a login or long after it

    def _handshake(self, request: bytes, version: int) -> None:
        asked = SaslHandshakeRequest.decode(request, version=version, header=True)
        known = asked.mechanism in self._front._mechanisms
        self._mechanism, self._login = (asked.mechanism if known else ""), None
        error = 0 if known else _UNSUPPORTED_MECHANISM
        if self._front.users is None:
            error = _ILLEGAL_STATE
        offered = list(self._front._mechanisms)
        self._answer(asked, SaslHandshakeResponse(error_code=error, mechanisms=offered))

    def _authenticate(self, request: bytes, version: int) -> None:
        asked = SaslAuthenticateRequest.decode(request, version=version, header=True)
        users, answer = self._front.users, SaslAuthenticateResponse(error_code=0)
        answer.error_message, answer.auth_bytes, answer.session_lifetime_ms = None, b"", 0
        if users is None or not self._mechanism:
            raise EOFError
        self._login = self._login or Login(self._mechanism, users)
        try:
            answer.auth_bytes = self._login.step(asked.auth_bytes)
        except RefusedError as error:
            answer.error_code, answer.error_message = _FAILED, str(error)
            users.note(self._mechanism, is_in=False)
        else:
            self._is_in = bool(self._login.user)
            if self._is_in:
                users.note(self._mechanism, is_in=True)
                answer.session_lifetime_ms = lifetime = self._front._session_ms
                self._ends = time.monotonic() + lifetime / 1000 if lifetime else math.inf
        self._answer(asked, answer)
        if answer.error_code:
            raise EOFError

    def _answer(self, asked, answer) -> None:
        answer.API_VERSION = asked.API_VERSION
        answer.with_header(correlation_id=asked.header.correlation_id)
        _send(self._client, answer.encode(header=True))

    def _translated(self, api: int, version: int, request: bytes, answer: bytes) -> bytes:
        """The broker's answer with our address instead of its own."""
        kind = {
            _API_VERSIONS: ApiVersionsResponse,
            MetadataResponse.API_KEY: MetadataResponse,
            FindCoordinatorResponse.API_KEY: FindCoordinatorResponse,
        }.get(api)
        if kind is None:
            return answer
        if kind is ApiVersionsResponse and struct.unpack_from(">h", answer, 4) != (0,):
            return answer  # an error that lists what the broker speaks, in the oldest form
        told = kind.decode(answer, version=version, header=True)
        if kind is ApiVersionsResponse:
            _add_sasl(told)
        elif kind is MetadataResponse:
            self._rename(told.brokers)
            if MetadataRequest.decode(request, version=version, header=True).topics is None:
                told.topics = [one for one in told.topics if one.name not in self._front.denied]
            for topic in told.topics:
                if topic.name in self._front.denied:
                    topic.error_code, topic.partitions = _TOPIC_DENIED, []
        elif version < 4:  # several at once since then
            self._rename([told])
        else:
            self._rename(told.coordinators)
        return told.encode(header=True)

    def _rename(self, nodes) -> None:
        for node in nodes:
            node.host, node.port = HOST, self._front.port


def _add_sasl(told: ApiVersionsResponse) -> None:
    known = {one.api_key for one in told.api_keys}
    for key in (_HANDSHAKE, _AUTHENTICATE):
        if key not in known:
            told.api_keys.append(
                ApiVersionsResponse.ApiVersion(api_key=key, min_version=0, max_version=1)
            )


def _frame(source: socket.socket) -> bytes:
    return _exactly(source, struct.unpack(">i", _exactly(source, 4))[0])


def _exactly(source: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = source.recv(min(size - len(found), 1 << 20))
        if not piece:
            raise EOFError
        found += piece
    return found


def _send(target: socket.socket, frame: bytes) -> None:
    target.sendall(struct.pack(">i", len(frame)) + frame)


def server_context(certificate: str, key: str, clients_ca: str = "") -> ssl.SSLContext:
    """TLS as brokers do it; with `clients_ca`, clients must show a certificate of that CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if clients_ca:
        context.load_verify_locations(clients_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
