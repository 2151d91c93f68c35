"""`media-pipeline doctor` on a healthy installation, and on broken ones it must tell apart."""

import json
import re
import time
import types
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest
from typer.testing import CliRunner

from media_pipeline.cli.main import app
from media_pipeline.local_stack.secrets_file import load_or_make
from media_pipeline.settings import settings_of
from resources.doctor import diagnose
from tests.fakes.broker_front import BrokerFront, server_context
from tests.fakes.certificates import Authority
from tests.fakes.sasl_server import Users
from tests.http_servers import start_serving

P = "MEDIA_PIPELINE_"
AWAY = "127.0.0.1:1"


@pytest.fixture
def examine(stack, monkeypatch):
    """Findings by check, with some variables of the stack changed or (None) taken away.

    The broker is asked where a test is about it: connecting takes longer than all the rest.
    """
    monkeypatch.setattr("resources.retries._FIRST_PAUSE", 0.0)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    def run(now=time.time, events=False, **changes):
        if not events:
            monkeypatch.setattr("resources.doctor.diagnosis.check_event_log", lambda *_: [])
        variables = {**stack.environment(), f"{P}KAFKA__REQUEST_TIMEOUT_SECONDS": "1"}
        variables |= {f"{P}{name}": value for name, value in changes.items()}
        given = {name: value for name, value in variables.items() if value is not None}
        return {one.check: one for one in diagnose(settings_of(given), now)}

    return run


def failures(findings) -> dict[str, str]:
    for one in findings.values():
        assert one.remedy or one.state in ("ok", "skipped"), one
    return {name: one.code for name, one in findings.items() if one.state == "failed"}


def test_a_variable_that_sets_nothing_is_told():
    settings = settings_of({f"{P}LEDGER__URL": f"http://{AWAY}"})
    first = next(diagnose(settings, unknown=["MEDIA_PIPELINE_KAFAK__X"]))
    assert (first.check, first.state, first.code) == ("settings", "warning", "unknown_setting")
    assert "MEDIA_PIPELINE_KAFAK__X" in first.detail


def own_token(stack, **claims) -> str:
    """A token that PostgREST believes, as an administrator with the old shared key would make."""
    import jwt

    secrets = load_or_make(stack.data_dir / "secrets.json")
    return jwt.encode(claims, secrets.jwt_secret, algorithm="HS256")


def by_environment(stack, token: str) -> dict[str, str | None]:
    return {
        "VAULT__ADDRESS": None,
        "LEDGER__TOKEN": token,
        "OBJECT_STORE__ACCESS_KEY": stack.s3_access_key,
        "OBJECT_STORE__SECRET_KEY": stack.s3_secret_key,
    }


def test_a_healthy_installation(stack, monkeypatch):
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    done = CliRunner().invoke(app, ["doctor", "--json"])
    findings = json.loads(done.stdout)
    assert done.exit_code == 0, findings
    assert {one["state"] for one in findings} == {"ok", "skipped"}
    assert [one["check"] for one in findings][:4] == [
        "vault", "vault login", "ledger token", "object store keys",
    ]  # fmt: skip
    assert "vault login" in CliRunner().invoke(app, ["doctor"]).stdout


def test_exit_code_and_table_of_a_broken_one(stack, monkeypatch):
    for name, value in {**stack.environment(), f"{P}LEDGER__URL": stack.vault_address}.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "200"})
    assert done.exit_code == 1
    assert "LEDGER__URL" in done.stdout


def test_nothing_secret_is_told(examine, stack):
    secrets = [stack.vault_secret_id_file.read_text(), stack.s3_secret_key, stack.vault_token]
    token = own_token(stack, role="media_writer", exp=int(time.time()) - 5)
    for found in (examine(), examine(**by_environment(stack, token))):
        text = repr(found)
        assert not [one for one in (*secrets, token) if one in text]


# --- Vault --------------------------------------------------------------------------------------


def test_vault_is_away(examine):
    found = examine(events=True, VAULT__ADDRESS=f"http://{AWAY}")
    assert failures(found) == {"vault": "vault_unavailable"}
    assert found["ledger"].state == "skipped"
    assert found["topic media.ingested.v1"].state == "ok", "the others are judged all the same"


def test_something_else_is_at_vaults_address(examine, stack):
    found = examine(VAULT__ADDRESS=f"http://{stack.s3_endpoint}")
    assert failures(found) == {"vault": "vault_wrong_endpoint"}


def test_vault_is_sealed(examine):
    class Sealed(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(b'{"initialized": true, "sealed": true}')

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Sealed)
    start_serving(server)
    try:
        found = examine(VAULT__ADDRESS=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
    assert failures(found) == {"vault": "vault_sealed"}


def test_the_login_is_refused(examine):
    found = examine(VAULT__SECRET_ID_FILE=None, VAULT__SECRET_ID="revoked")
    assert failures(found) == {"vault login": "credentials_refused"}


def test_a_root_token_is_warned_of(examine, stack):
    found = examine(VAULT__AUTH="token", VAULT__TOKEN=stack.vault_token, VAULT__MODE="stored")
    assert found["vault login"].state == "warning"
    assert failures(found) == {}


# --- identity and keys --------------------------------------------------------------------------


def test_an_expired_token(examine, stack):
    token = own_token(stack, role="media_writer", exp=int(time.time()) - 300)
    found = examine(**by_environment(stack, token))
    assert failures(found) == {"ledger token": "token_expired", "ledger": "credentials_refused"}
    assert re.search(r"expired 3\d\d s ago", found["ledger token"].detail)


def test_a_token_without_a_role(examine, stack):
    found = examine(**by_environment(stack, own_token(stack, exp=int(time.time()) + 60)))
    assert failures(found)["ledger token"] == "role_missing"


def test_a_role_that_may_do_nothing_here(examine, stack):
    token = own_token(stack, role="anon", exp=int(time.time()) + 60)
    assert failures(examine(**by_environment(stack, token))) == {"ledger": "ledger_denied"}


def test_this_hosts_clock_is_wrong(examine):
    found = examine(now=lambda: time.time() + 600)
    assert failures(found) == {"vault": "clock_skew", "ledger": "clock_skew"}
    assert re.search(r"6\d\d s ahead", found["vault"].detail)
    behind = examine(now=lambda: time.time() - 600)
    assert failures(behind)["ledger token"] == "clock_skew"


def test_a_role_of_the_store_that_is_not_for_us(examine):
    found = examine(OBJECT_STORE__STS_ROLE_ARN="arn:aws:iam::role/somebody")
    assert failures(found) == {"object store keys": "sts_refused"}
    assert found["buckets"].state == "skipped"


def test_static_keys_that_were_rotated(examine, stack):
    token = own_token(stack, role="media_writer", exp=int(time.time()) + 60)
    given = {**by_environment(stack, token), "OBJECT_STORE__ACCESS_KEY": "gone"}
    assert failures(examine(**given)) == {
        "bucket media": "keys_unknown", "bucket media-derived": "keys_unknown",
    }  # fmt: skip
    given = {**by_environment(stack, token), "OBJECT_STORE__SECRET_KEY": "wrong"}
    assert set(failures(examine(**given)).values()) == {"keys_wrong"}


def test_a_bucket_that_the_policy_does_not_open(examine):
    found = examine(OBJECT_STORE__DERIVED_BUCKET="kafka")
    assert failures(found) == {"bucket kafka": "denied_by_policy"}


def test_a_bucket_that_is_not_there(examine, stack):
    token = own_token(stack, role="media_writer", exp=int(time.time()) + 60)
    given = {**by_environment(stack, token), "OBJECT_STORE__DERIVED_BUCKET": "no-such-bucket"}
    assert failures(examine(**given)) == {"bucket no-such-bucket": "bucket_missing"}


def test_something_else_is_at_the_stores_address(examine, stack):
    token = own_token(stack, role="media_writer", exp=int(time.time()) + 60)
    elsewhere = stack.vault_address.partition("//")[2]
    found = examine(**{**by_environment(stack, token), "OBJECT_STORE__ENDPOINT": elsewhere})
    assert set(failures(found).values()) == {"object_store_wrong_endpoint"}
    assert set(failures(found)) == {"bucket media", "bucket media-derived"}


@pytest.mark.parametrize(
    ("said", "code"),
    [
        # A session lives for 15 minutes at least: its end is played here.
        ("ExpiredToken", "keys_expired"),
        ("RequestTimeTooSkewed", "clock_skew"),
    ],
)
def test_a_store_that_refuses_a_session_or_a_clock(examine, stack, said, code):
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            body = f"<Error><Code>{said}</Code><Message>no</Message></Error>".encode()
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        do_HEAD = do_PUT = do_GET  # noqa: N815  # names of the library

        def log_message(self, *_: object) -> None: ...

    token = own_token(stack, role="media_writer", exp=int(time.time()) + 60)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    start_serving(server)
    try:
        endpoint = f"127.0.0.1:{server.server_port}"
        found = examine(**{**by_environment(stack, token), "OBJECT_STORE__ENDPOINT": endpoint})
    finally:
        server.shutdown()
        server.server_close()
    assert failures(found) == {"bucket media": code, "bucket media-derived": code}


# --- ledger -------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["s3", "vault"])
def test_something_else_is_at_the_ledgers_address(examine, stack, address):
    url = f"http://{stack.s3_endpoint}" if address == "s3" else stack.vault_address
    found = examine(LEDGER__URL=url)
    assert failures(found) == {"ledger": "ledger_wrong_endpoint"}


def test_the_ledger_is_away(examine):
    assert failures(examine(LEDGER__URL=f"http://{AWAY}")) == {"ledger": "ledger_unavailable"}


@contextmanager
def session(stack):
    with psycopg.connect(stack.postgres_dsn) as connection:
        yield connection
        connection.rollback()


def test_a_locked_table_is_told_with_who_holds_it(examine, stack):
    with session(stack) as connection:
        connection.execute("lock table media.media_asset in access exclusive mode")
        pid = connection.info.backend_pid
        found = examine()
    assert failures(found) == {"locks": "ledger_locked"}
    assert f"pid {pid} has AccessExclusiveLock on media_asset" in found["locks"].detail


def test_row_security_that_shuts_the_ledger_out(examine, stack):
    with psycopg.connect(stack.postgres_dsn, autocommit=True) as connection:
        connection.execute("drop policy owner_all on media.lease")
        try:
            found = examine()
        finally:
            connection.execute(
                "create policy owner_all on media.lease to media_owner"
                " using (true) with check (true)"
            )
    assert failures(found) == {"row security": "rls_denied"}
    assert "lease" in found["row security"].detail


# --- event log and Dagster ----------------------------------------------------------------------


def test_a_topic_that_is_missing(examine):
    found = examine(events=True, KAFKA__ENRICHED_TOPIC="no-such-topic")
    assert failures(found) == {"topic no-such-topic": "topic_missing"}


def test_the_broker_is_away_and_is_asked_once(examine):
    found = examine(events=True, KAFKA__BOOTSTRAP_SERVERS=AWAY)
    assert failures(found) == {"event log login": "event_log_unavailable"}
    assert not [name for name in found if name.startswith("topic")]


def test_a_secret_in_clear_is_warned_of(examine):
    found = examine(
        events=True, KAFKA__SECURITY_PROTOCOL="SASL_PLAINTEXT", KAFKA__SASL_MECHANISM="PLAIN",
        KAFKA__SASL_USERNAME="media",
    )  # fmt: skip
    assert found["event log"].code == "secret_in_clear"
    assert failures(found)["event log login"] == "sasl_mechanism", "this broker knows none"


@pytest.fixture
def front(stack, tmp_path):
    """(front, variables that get in): the broker behind TLS and SCRAM."""
    authority, users = Authority(tmp_path), Users(media="a-pass-word")
    tls = server_context(*authority.issue("broker", host="127.0.0.1"))
    with BrokerFront(stack.kafka_bootstrap, tls=tls, users=users) as front:
        token = own_token(stack, role="media_writer", exp=int(time.time()) + 60)
        yield (
            front,
            {
                **by_environment(stack, token),
                "KAFKA__BOOTSTRAP_SERVERS": front.bootstrap,
                "KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
                "KAFKA__SSL_CAFILE": str(authority.file),
                "KAFKA__SASL_USERNAME": "media",
                "KAFKA__SASL_PASSWORD": "a-pass-word",
            },
        )


def test_a_login_to_the_event_log(examine, front):
    _, variables = front
    found = examine(events=True, **variables)
    assert failures(found) == {}
    assert "SCRAM-SHA-512 over SASL_SSL" in found["event log login"].detail
    assert found["topic media.ingested.v1"].state == "ok"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"KAFKA__SASL_PASSWORD": "an-other-word"}, "credentials_refused"),
        ({"KAFKA__SSL_CAFILE": None}, "tls_untrusted"),
        ({"KAFKA__BOOTSTRAP_SERVERS": "localhost:{port}"}, "tls_wrong_host"),
        ({"KAFKA__SECURITY_PROTOCOL": "PLAINTEXT"}, "event_log_wrong_endpoint"),
        ({"KAFKA__SSL_CAFILE": "/nowhere.pem"}, "tls_files"),
    ],
)
def test_logins_that_fail_are_told_apart(examine, front, changes, code):
    there, variables = front
    wrong = {name: value and value.format(port=there.port) for name, value in changes.items()}
    found = examine(events=True, **{**variables, **wrong})
    assert failures(found) == {"event log login": code}
    assert not [word for word in ("a-pass-word", "an-other-word") if word in repr(found)]


def test_a_topic_that_the_acls_do_not_open(examine, front):
    there, variables = front
    there.denied.add("media.processing.dlq")
    found = examine(events=True, **variables)
    assert failures(found) == {"topic media.processing.dlq": "event_log_refused"}
    assert "ACL" in found["topic media.processing.dlq"].remedy


def test_dagsters_storage(examine, stack, tmp_path, monkeypatch):
    (tmp_path / "dagster.yaml").write_text(
        "storage: {postgres: {postgres_url: {env: STORAGE_URL}}}\ntelemetry: {enabled: false}\n"
    )
    url = stack.dagster_postgres_url
    monkeypatch.setenv("STORAGE_URL", url)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    settings = settings_of(stack.environment())

    def storage():
        (found,) = [one for one in diagnose(settings) if one.check == "dagster storage"]
        return found

    assert storage().state == "ok"
    password = url.split(":")[2].split("@")[0]
    monkeypatch.setenv("STORAGE_URL", url.replace(password, "wrong-password"))
    hurried = types.SimpleNamespace(sleep=lambda _: None)  # Dagster asks five times
    monkeypatch.setattr("dagster_postgres.utils.time", hurried)
    found = storage()
    assert (found.state, found.code) == ("failed", "dagster_storage")
    assert "wrong-password" not in repr(found)
