"""The broker's side of SASL: PLAIN, SCRAM (RFC 5802) and OAUTHBEARER (RFC 7628)."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
from dataclasses import dataclass

HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
ITERATIONS = 4096


class RefusedError(Exception):
    """The login is refused; the text is what the broker says."""


@dataclass(frozen=True)
class ScramSecret:
    """What a broker keeps of a password."""

    salt: bytes
    stored_key: bytes
    server_key: bytes

    @classmethod
    def of(cls, mechanism: str, password: str) -> "ScramSecret":
        digest, salt = HASHES[mechanism], secrets.token_bytes(16)
        salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, ITERATIONS)
        client_key = hmac.digest(salted, b"Client Key", digest)
        server_key = hmac.digest(salted, b"Server Key", digest)
        return cls(salt, hashlib.new(digest, client_key).digest(), server_key)


class Users:
    """Who may log in; `set_password` is what an administrator does, for new logins at once."""

    def __init__(self, **passwords: str):
        self._plain: dict[str, str] = {}
        self._scram: dict[tuple[str, str], ScramSecret] = {}
        #: Whether a bearer token is good; by default none is.
        self.accepts_token = lambda token: False
        self.refusals: list[str] = []  # mechanisms
        self.logins: list[str] = []  # likewise
        self._happened = threading.Condition()
        for user, password in passwords.items():
            self.set_password(user, password)

    def set_password(self, user: str, password: str) -> None:
        self._plain[user] = password
        for mechanism in HASHES:
            self._scram[mechanism, user] = ScramSecret.of(mechanism, password)

    def note(self, mechanism: str, *, is_in: bool) -> None:
        with self._happened:
            (self.logins if is_in else self.refusals).append(mechanism)
            self._happened.notify_all()

    def wait_for_logins(self, count: int, seconds: float = 30) -> None:
        with self._happened:
            assert self._happened.wait_for(lambda: len(self.logins) >= count, seconds)

    def is_password(self, user: str, password: str) -> bool:
        return self._plain.get(user) == password

    def scram(self, mechanism: str, user: str) -> ScramSecret:
        # Strangers get a salt too: whether a user exists is not told.
        return self._scram.get((mechanism, user)) or ScramSecret.of(mechanism, "nobody")


class Login:
    """One exchange. `step` answers what is sent back; `user` is known when it is over."""

    def __init__(self, mechanism: str, users: Users):
        self.user = ""
        self._users = users
        self._steps = {"PLAIN": self._plain, "OAUTHBEARER": self._bearer}.get(
            mechanism, self._scram_first
        )
        self._mechanism = mechanism

    def step(self, data: bytes) -> bytes:
        return self._steps(data)

    def _plain(self, data: bytes) -> bytes:
        _, user, password = data.decode().split("\0")
        if not self._users.is_password(user, password):
            # Worse than real brokers, which quote nothing: the client must hide it all the same.
            raise RefusedError(f"invalid credentials: {user} {password}")
        self.user = user
        return b""

    def _bearer(self, data: bytes) -> bytes:
        if data == b"\x01":
            raise RefusedError("invalid token")
        token = data.decode().partition("auth=Bearer ")[2].split("\x01")[0]
        if not self._users.accepts_token(token):
            return json.dumps({"status": "invalid_token"}).encode()  # the client says \x01 to that
        self.user = "bearer"
        return b""

    def _scram_first(self, data: bytes) -> bytes:
        header, _, self._client_first = data.decode().partition("n,,")
        fields = _fields(self._client_first)
        if header or "n" not in fields:
            raise RefusedError("no SCRAM message")
        self._name = fields["n"].replace("=2C", ",").replace("=3D", "=")
        self._secret = self._users.scram(self._mechanism, self._name)
        self._nonce = fields["r"] + secrets.token_urlsafe(18)
        salt = base64.b64encode(self._secret.salt).decode()
        self._server_first = f"r={self._nonce},s={salt},i={ITERATIONS}"
        self._steps = self._scram_final
        return self._server_first.encode()

    def _scram_final(self, data: bytes) -> bytes:
        digest = HASHES[self._mechanism]
        without_proof, _, proof = data.decode().rpartition(",p=")
        if _fields(without_proof) != {"c": "biws", "r": self._nonce}:
            raise RefusedError("other nonce or channel binding")
        spoken = f"{self._client_first},{self._server_first},{without_proof}".encode()
        signature = hmac.digest(self._secret.stored_key, spoken, digest)
        client_key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
        if hashlib.new(digest, client_key).digest() != self._secret.stored_key:
            raise RefusedError(f"invalid credentials with SASL mechanism {self._mechanism}")
        self.user = self._name
        signed = hmac.digest(self._secret.server_key, spoken, digest)
        return b"v=" + base64.b64encode(signed)


def _fields(message: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in message.split(","))
