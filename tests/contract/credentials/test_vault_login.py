"""Logging in to a real OpenBao, staying logged in, and what a login that fails says."""

import base64
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from media_pipeline.errors import SystemicError, TransientError
from resources.credentials import StoredCredentials
from resources.credentials.vault_session import VaultSession
from tests.http_servers import start_serving


class Clock:
    """Time that a test moves."""

    def __init__(self):
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(key) -> str:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()  # fmt: skip


def projected_token(key, **claims) -> str:
    now = int(time.time())
    body = {"iss": "kubernetes", "aud": ["vault"], "sub": "system:serviceaccount:media:worker",
            "iat": now, "nbf": now, "exp": now + 600}  # fmt: skip
    return jwt.encode({**body, **claims}, key, algorithm="RS256")


def test_a_projected_token_logs_in_by_jwt_and_is_read_at_each_login(corner, key, tmp_path):
    corner.client.sys.enable_auth_method("jwt", path=corner.name)
    corner.post(f"auth/{corner.name}/config", jwt_validation_pubkeys=[public_pem(key)])
    corner.post(
        f"auth/{corner.name}/role/worker", role_type="jwt", bound_audiences=["vault"],
        bound_subject="system:serviceaccount:media:worker", user_claim="sub",
        token_policies=[corner.name],
    )  # fmt: skip
    corner.write(kafka_password="p")
    file = tmp_path / "token"
    file.write_text(projected_token(key, aud=["somebody-else"]))
    source = StoredCredentials(
        corner.settings(auth="jwt", auth_mount=corner.name, role="worker", jwt_file=str(file))
    )
    with pytest.raises(SystemicError) as refused:
        source.secret("kafka_password")
    assert refused.value.code == "credentials_refused"
    file.write_text(projected_token(key))  # the kubelet writes a new one before the old one ends
    assert source.secret("kafka_password") == "p"


class reviewer:  # noqa: N801  # used like a function
    """A Kubernetes API that knows one service account, for TokenReview."""

    def __enter__(self) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                user = {
                    "username": "system:serviceaccount:media:worker",
                    "uid": "u-1",
                    "groups": ["system:serviceaccounts"],
                }
                kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
                audiences = body["spec"].get("audiences")
                status = {"authenticated": True, "user": user, "audiences": audiences}
                data = json.dumps({**kind, "spec": body["spec"], "status": status}).encode()
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        start_serving(self._server)
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_projected_token_logs_in_by_kubernetes(corner, key, tmp_path):
    corner.client.sys.enable_auth_method("kubernetes", path=corner.name)
    corner.write(kafka_password="p")
    claims = {
        "kubernetes.io": {"namespace": "media", "serviceaccount": {"name": "worker", "uid": "u-1"}}
    }
    file = tmp_path / "token"
    file.write_text(projected_token(key, **claims))
    with reviewer() as host:
        corner.post(
            f"auth/{corner.name}/config", kubernetes_host=host, disable_local_ca_jwt=True,
            kubernetes_ca_cert=certificate(key), token_reviewer_jwt=projected_token(key),
            pem_keys=[public_pem(key)],
        )  # fmt: skip
        corner.post(
            f"auth/{corner.name}/role/worker", bound_service_account_names=["worker"],
            bound_service_account_namespaces=["media"], token_policies=[corner.name],
        )  # fmt: skip
        fields = {"auth": "kubernetes", "auth_mount": corner.name, "jwt_file": str(file)}
        source = StoredCredentials(corner.settings(**fields, role="worker"))
        assert source.secret("kafka_password") == "p"
        with pytest.raises(SystemicError) as refused:
            StoredCredentials(corner.settings(**fields, role="no-such")).secret("kafka_password")
    assert refused.value.code == "credentials_refused"


def certificate(key) -> str:
    """A CA that nothing here is signed by: the API above speaks plain HTTP."""
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(1)
        .not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_a_wrapped_secret_id_is_unwrapped_once(corner, tmp_path):
    corner.write(kafka_password="p")
    fields = corner.approle()
    file = tmp_path / "secret-id"
    file.write_text(corner.secret_id(wrap_ttl="60s"))
    wrapped = corner.settings(
        auth="approle", role_id=fields["role_id"], secret_id_file=str(file), secret_id_wrapped=True
    )
    session = VaultSession(wrapped)
    source = StoredCredentials(wrapped, session)
    assert source.secret("kafka_password") == "p"
    # The session logs in again with what it unwrapped.
    corner.client.auth.token.revoke(session._login.token)
    assert session.read(f"secret/data/{corner.name}")["data"]["data"] == {"kafka_password": "p"}
    # Whoever comes second learns that somebody was there before.
    with pytest.raises(SystemicError, match="intercepted") as caught:
        StoredCredentials(wrapped).secret("kafka_password")
    assert caught.value.code == "wrapping_token_used"
    file.write_text(corner.secret_id(wrap_ttl="60s"))
    assert StoredCredentials(wrapped).secret("kafka_password") == "p"


def test_something_else_in_the_wrapping_is_an_interception_too(corner):
    """An interceptor may wrap again what he took out, or something of his own."""
    fields = corner.approle()
    made = corner.client.sys.wrap({"secret_id": fields["secret_id"]}, ttl=60)
    wrapped = corner.settings(
        auth="approle", role_id=fields["role_id"], secret_id=made["wrap_info"]["token"],
        secret_id_wrapped=True,
    )  # fmt: skip
    with pytest.raises(SystemicError, match="sys/wrapping/wrap") as caught:
        StoredCredentials(wrapped).secret("kafka_password")
    assert caught.value.code == "wrapping_token_used"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"secret_id": "wrong"}, "credentials_refused"),
        ({"role_id": "wrong"}, "credentials_refused"),
        ({"role_id": None}, "credentials_missing"),
        ({"secret_id": None}, "credentials_missing"),
        ({"secret_id_file": "/no/such/file"}, "credentials_missing"),
        ({"auth": "token"}, "credentials_missing"),
        ({"auth": "token", "token": "wrong"}, "credentials_refused"),
        ({"auth": "jwt"}, "credentials_missing"),
        ({"auth_mount": "no-such"}, "credentials_refused"),
    ],
)
def test_a_login_that_fails_says_why(corner, changes, code):
    with pytest.raises(SystemicError) as caught:
        StoredCredentials(corner.settings(**{**corner.approle(), **changes})).secret("x")
    assert caught.value.code == code
    assert caught.value.remedy


def test_a_vault_that_is_away_is_transient(corner, unreachable):
    source = StoredCredentials(corner.settings(**{**corner.approle(), "address": unreachable}))
    with pytest.raises(TransientError) as caught:
        source.secret("x")
    assert caught.value.code == "vault_unavailable"


def test_another_server_at_the_address_is_told_apart(corner):
    fields = {**corner.approle(), "address": f"http://{corner.stack.s3_endpoint}"}
    source = StoredCredentials(corner.settings(**fields))
    with pytest.raises(SystemicError) as caught:
        source.secret("x")
    assert caught.value.code in ("vault_wrong_endpoint", "credentials_refused")


def test_the_token_is_renewed_early_and_replaced_at_its_maximum(corner):
    corner.write(kafka_password="p")
    clock = Clock()
    settings = corner.settings(**corner.approle(token_ttl="100s", token_max_ttl="160s"))
    session = VaultSession(settings, clock)
    first = session.keep_alive()
    assert 59 < first <= 67
    token = session._login.token
    assert session._keeper.is_alive()
    clock.ahead += 68
    session.keep_alive()
    # Renewed: the same token, again for its whole life.
    assert session._login.token == token
    assert session.seconds_left() > 90
    # Near the maximum Vault grants less and less. Its own clock has not moved, so it is told so.
    corner.post(f"auth/approle/role/{corner.name}", token_ttl="20s", token_max_ttl="20s")
    clock.ahead += 68
    session.keep_alive()
    assert session._login.token != token
    assert session.read(f"secret/data/{corner.name}")


def test_a_revoked_token_is_replaced_at_once(corner):
    corner.write(kafka_password="p")
    session = VaultSession(corner.settings(**corner.approle()))
    session.keep_alive()
    corner.client.auth.token.revoke(session._login.token)
    assert session.read(f"secret/data/{corner.name}")["data"]["data"] == {"kafka_password": "p"}


def test_an_outage_while_renewing_uses_the_token_up(corner, unreachable):
    corner.write(kafka_password="p")
    clock = Clock()
    session = VaultSession(corner.settings(**corner.approle(token_ttl="100s")), clock)
    session.keep_alive()
    token = session._login.token
    here, session.api.settings = session.api.settings, corner.settings(
        **{**corner.approle(token_ttl="100s"), "address": unreachable}
    )  # fmt: skip
    clock.ahead += 70
    session.keep_alive()
    assert session._login.token == token
    session.api.settings = here
    clock.ahead += 15
    session.keep_alive()
    assert session.seconds_left() > 90


def test_secrets_of_a_login_do_not_show(corner):
    fields = corner.approle()
    session = VaultSession(corner.settings(**fields))
    session.keep_alive()
    shown = repr(session._login) + repr(session.api.settings) + str(vars(session))
    assert session._login.token not in shown
    assert fields["secret_id"] not in shown
    assert base64.b64encode(fields["secret_id"].encode()).decode() not in shown
