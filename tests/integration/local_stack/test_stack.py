"""The embedded stack: data survive a restart, failures name their log, nothing is left behind."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from media_pipeline.domain.media_asset import SourceObject
from media_pipeline.domain.ports import OutgoingEvent
from media_pipeline.errors import SystemicError
from media_pipeline.local_stack import database
from media_pipeline.local_stack.migrations import apply_migrations
from media_pipeline.local_stack.ports import is_free
from media_pipeline.local_stack.process import ServerProcess
from media_pipeline.local_stack.stack import RunningStack, embedded_stack
from media_pipeline.settings import KafkaSettings, ObjectStoreSettings, Settings
from resources.credentials import SettingsCredentials, StoredCredentials
from resources.event_log import KafkaEventSource
from resources.event_sink import KafkaEventSink
from resources.object_store import S3ObjectStore
from tests.stacks import forget

TOPIC = "media.ingested.v1"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path):
    yield
    forget(tmp_path)


def object_store(stack: RunningStack) -> S3ObjectStore:
    settings = ObjectStoreSettings(
        endpoint=stack.s3_endpoint, secure=False, access_key=stack.s3_access_key,
        secret_key=stack.s3_secret_key,
    )  # fmt: skip
    return S3ObjectStore(settings, SettingsCredentials(Settings(object_store=settings)))


def kafka(stack: RunningStack) -> tuple[KafkaSettings, SettingsCredentials]:
    settings = KafkaSettings(bootstrap_servers=stack.kafka_bootstrap, unbatched=True)
    return settings, SettingsCredentials(Settings(kafka=settings))


def test_every_server_keeps_its_data_over_a_restart(tmp_path):
    with embedded_stack(tmp_path) as stack:
        with psycopg.connect(stack.postgres_dsn) as connection:
            connection.execute("create table kept as select 42 as answer")
        object_store(stack).upload("media", "kept", b"object", None)
        sink = KafkaEventSink(*kafka(stack))
        sink.publish([OutgoingEvent("1", TOPIC, b"k", b"record")])
        sink.close()
        before = (stack.s3_secret_key, stack.kafka_bootstrap, stack.vault_token)
    # Another program has taken one of the ports in the meantime.
    port = int(stack.ledger_url.rsplit(":", 1)[1])
    with socket.create_server(("127.0.0.1", port)), embedded_stack(tmp_path) as stack:
        assert (stack.s3_secret_key, stack.kafka_bootstrap, stack.vault_token) == before
        assert not stack.ledger_url.endswith(f":{port}")
        with psycopg.connect(stack.postgres_dsn) as connection:
            assert connection.execute("select answer from kept").fetchone() == (42,)
        source = SourceObject("media", "kept")
        found = object_store(stack).fetch(source, tmp_path / "kept", max_bytes=100)
        assert found.path.read_bytes() == b"object"
        reader = KafkaEventSource(*kafka(stack))
        poll = reader.poll(TOPIC, {}, max_records=10, deadline_seconds=10)
        reader.close()
        assert [record.value for record in poll.records] == [b"record"]
        vault = StoredCredentials(stack.settings().vault)
        assert vault.secret("object_store_secret_key") == stack.s3_secret_key


def test_everything_listens_on_loopback_alone_and_ends_with_the_block(tmp_path):
    with embedded_stack(tmp_path) as stack:
        pids = [server.pid for server in stack.servers.values()]
        ports = json.loads((tmp_path / "ports.json").read_text())
        table = Path("/proc/net/tcp").read_text()
        listening = {
            (line.split()[1].split(":")[0], int(line.split()[1].split(":")[1], 16))
            for line in table.splitlines()[1:]
            if line.split()[3] == "0A"
        }
        ours = {address for address, port in listening if port in ports.values()}
        assert ours == {"0100007F"}
        with (
            pytest.raises(SystemicError, match="already running") as caught,
            embedded_stack(tmp_path),
        ):
            pass
        assert caught.value.code == "stack_running"
    assert not any(alive(pid) for pid in pids)
    assert all(is_free(port) for port in ports.values())


def test_secrets_are_private_and_not_on_any_command_line(tmp_path):
    with embedded_stack(tmp_path) as stack:
        for name in (
            "secrets.json",
            "stack.json",
            "s3-identities.json",
            "s3-access.json",
            "openbao/root-token",
            "openbao/secret-id",
            "postgrest-keys.json",
        ):
            assert (tmp_path / name).stat().st_mode & 0o077 == 0, name
        words = [*json.loads((tmp_path / "secrets.json").read_text()).values(), stack.vault_token]
        words.append((tmp_path / "openbao/secret-id").read_text())
        for server in stack.servers.values():
            line = Path(f"/proc/{server.pid}/cmdline").read_bytes().decode()
            assert not [word for word in words if word in line], server.name
        assert not [word for word in words if word in repr(stack)]
        assert not [word for word in words if word in str(stack.environment())]


def test_a_server_that_does_not_start_names_its_log_and_stops_the_others(tmp_path, monkeypatch):
    monkeypatch.setitem(database._SETTINGS, "max_connections", "nonsense")
    with pytest.raises(SystemicError) as caught, embedded_stack(tmp_path):
        pass
    assert str(tmp_path / "logs" / "postgresql.log") in str(caught.value)
    assert "nonsense" in str(caught.value)
    ports = json.loads((tmp_path / "ports.json").read_text())
    assert all(is_free(port) for port in ports.values())


def test_nothing_outlives_a_killed_parent(tmp_path):
    script = (
        "import sys, signal, pathlib\n"
        "from media_pipeline.local_stack.stack import embedded_stack\n"
        f"with embedded_stack(pathlib.Path({str(tmp_path)!r})) as stack:\n"
        "    print(*[server.pid for server in stack.servers.values()], flush=True)\n"
        "    signal.pause()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 5
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a server outlived its parent"
        time.sleep(0.05)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_can_run_it():
    """As root PostgreSQL drops to another user; an ordinary user just runs everything."""
    import pwd
    import tempfile

    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        home = Path(directory) / "home"
        home.mkdir()
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        script = (
            "import pathlib\n"
            "from media_pipeline.local_stack.stack import embedded_stack\n"
            f"with embedded_stack(pathlib.Path({str(home / 'data')!r})) as stack:\n"
            "    print(len(stack.servers))\n"
        )
        # This Python may lie in a folder of root's; Debian's of the same version will do.
        python = next(
            (one for one in (sys.executable, "/usr/bin/python3.11") if usable(one, nobody)), None
        )
        if python is None:
            pytest.skip("no Python here can be run by another user")
        environment = {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        }
        done = subprocess.run(
            [python, "-c", script],
            cwd=home, env=environment, user=nobody.pw_uid,
            group=nobody.pw_gid, extra_groups=[], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "5"


def test_a_changed_migration_is_refused(tmp_path, stack):
    (tmp_path / "0001_first.sql").write_text("create table migrated (n int);")
    with psycopg.connect(stack.postgres_dsn, autocommit=True) as connection:
        connection.execute("create database migrations")
    dsn = stack.postgres_dsn.rsplit("/", 1)[0] + "/migrations"
    assert apply_migrations(dsn, tmp_path) == ["0001_first.sql"]
    assert apply_migrations(dsn, tmp_path) == []
    (tmp_path / "0002_broken.sql").write_text("create table half (n int); nonsense;")
    with pytest.raises(psycopg.Error):
        apply_migrations(dsn, tmp_path)
    (tmp_path / "0002_broken.sql").write_text("create table half (n int);")
    assert apply_migrations(dsn, tmp_path) == ["0002_broken.sql"]
    (tmp_path / "0001_first.sql").write_text("create table other (n int);")
    with pytest.raises(SystemicError) as caught:
        apply_migrations(dsn, tmp_path)
    assert caught.value.code == "migration_changed"


def test_a_server_is_stopped_even_if_it_ignores_the_request(tmp_path):
    script = (
        "import signal, time\n"
        "signal.signal(15, signal.SIG_IGN)\n"
        "print('up', flush=True)\n"
        "time.sleep(99)\n"
    )
    command = [sys.executable, "-c", script]
    server = ServerProcess("stubborn", command, log_dir=tmp_path, stop_seconds=0.1).start()
    server.wait_ready(lambda: "up" in server.log_file.read_text())
    pid = server.pid
    server.stop()
    assert not alive(pid)
    server.stop()


def usable(python: str, user) -> bool:
    try:
        return not subprocess.run(
            [python, "-c", ""],
            cwd="/", user=user.pw_uid, group=user.pw_gid, extra_groups=[], check=False,
        ).returncode  # fmt: skip
    except OSError:
        return False


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
