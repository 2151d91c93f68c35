"""The whole embedded stack: starts in parallel, is described by one value, stops together."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from media_pipeline.errors import SystemicError
from media_pipeline.local_stack import event_log, metadata_server, object_store, vault
from media_pipeline.local_stack.database import Database
from media_pipeline.local_stack.migrations import apply_migrations
from media_pipeline.local_stack.ports import remembered_ports
from media_pipeline.local_stack.process import ServerProcess
from media_pipeline.local_stack.secrets_file import StackSecrets, load_or_make, write_private
from media_pipeline.settings import Settings, settings_of

STATE_FILE = "stack.json"
_PORTS = ("postgresql", "postgrest", "kafka", "vault", "vault-cluster", *object_store.PORT_NAMES)

Report = Callable[[str], None]


@dataclass(frozen=True)
class RunningStack:
    """Addresses and credentials of a stack that is up. Secrets: never print it."""

    data_dir: Path
    kafka_bootstrap: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    postgres_dsn: str
    dagster_postgres_url: str
    ledger_url: str
    jwt_secret: str
    ledger_token: str
    reader_token: str
    vault_address: str
    vault_token: str
    servers: Mapping[str, ServerProcess]

    def __repr__(self) -> str:
        return f"RunningStack({self.data_dir})"

    def environment(self) -> dict[str, str]:
        """Variables that make `Settings` mean this stack; credentials come from its vault."""
        prefix = "MEDIA_PIPELINE_"
        return {
            f"{prefix}KAFKA__BOOTSTRAP_SERVERS": self.kafka_bootstrap,
            # Tansu answers wrong latest offsets for records that were sent in batches.
            f"{prefix}KAFKA__UNBATCHED": "true",
            f"{prefix}OBJECT_STORE__ENDPOINT": self.s3_endpoint,
            f"{prefix}OBJECT_STORE__SECURE": "false",
            f"{prefix}OBJECT_STORE__ALLOWED_BUCKETS": json.dumps([object_store.MEDIA_BUCKET]),
            f"{prefix}OBJECT_STORE__DERIVED_BUCKET": object_store.DERIVED_BUCKET,
            f"{prefix}LEDGER__URL": self.ledger_url,
            f"{prefix}MODERATION__REGISTRY_FILE": str(self.data_dir / "models.json"),
            f"{prefix}MODERATION__MODEL_DIR": str(self.data_dir / "models"),
            f"{prefix}VAULT__ADDRESS": self.vault_address,
            f"{prefix}VAULT__TOKEN": self.vault_token,
            f"{prefix}VAULT__MOUNT": vault.MOUNT,
            f"{prefix}VAULT__PATH": vault.PATH,
        }

    def settings(self) -> Settings:
        """What a process with `environment()` would read."""
        return settings_of(self.environment())


@contextmanager
def embedded_stack(data_dir: Path, *, on_event: Report | None = None) -> Iterator[RunningStack]:
    """Everything up inside the block, everything stopped after it; data stays in `data_dir`.

    Raises SystemicError `stack_running` when another process runs a stack on the same data,
    and `server_failed`, naming the log file, when a server does not come up.
    """
    data_dir = data_dir.resolve()
    report = on_event or (lambda _: None)
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / ".gitignore").write_text("*\n")
    with ExitStack() as stack:
        stack.enter_context(_exclusive(data_dir))
        servers: dict[str, ServerProcess] = {}
        # Stops what has been started by then, last first, also when a start fails midway.
        stack.callback(_stop_all, servers, report)
        running = _start_all(data_dir, servers, report)
        _write_state(running)
        stack.callback((data_dir / STATE_FILE).unlink, missing_ok=True)
        yield running


def _start_all(data_dir: Path, servers: dict[str, ServerProcess], report: Report) -> RunningStack:
    """Two chains side by side: database -> PostgREST; object store -> broker; and the vault."""
    ports = remembered_ports(data_dir / "ports.json", _PORTS)
    secrets = load_or_make(data_dir / "secrets.json")
    log_dir = data_dir / "logs"
    database = Database(data_dir, ports["postgresql"], secrets.postgres_password, log_dir)
    s3_endpoint = f"127.0.0.1:{ports['weed-s3']}"

    def note(server: ServerProcess) -> None:
        servers[server.name] = server
        report(f"{server.name} is up")

    def metadata_chain() -> None:
        note(database.start())
        for name in apply_migrations(database.url("media")):
            report(f"applied migration {name}")
        # As in production: a role that may only become one of the others.
        database.allow_login("authenticator")
        url = database.url("media", user="authenticator")
        note(metadata_server.start(ports["postgrest"], url, secrets, log_dir))

    def object_chain() -> None:
        note(object_store.start(data_dir, ports, secrets, log_dir))
        note(event_log.start(ports["kafka"], s3_endpoint, secrets, log_dir))

    def vault_chain() -> str:
        address = f"http://127.0.0.1:{ports['vault']}"
        server, token = vault.start(
            data_dir, ports["vault"], ports["vault-cluster"], secrets, log_dir
        )
        note(server)
        vault.store(server, address, token, _pipeline_credentials(secrets))
        return token

    with ThreadPoolExecutor(3, "start") as threads:
        chains = [threads.submit(chain) for chain in (metadata_chain, object_chain)]
        vault_token = threads.submit(vault_chain)
        for chain in chains:
            chain.result()
    return RunningStack(
        data_dir=data_dir,
        kafka_bootstrap=f"127.0.0.1:{ports['kafka']}",
        s3_endpoint=s3_endpoint,
        s3_access_key=secrets.s3_access_key,
        s3_secret_key=secrets.s3_secret_key,
        postgres_dsn=database.url("media"),
        dagster_postgres_url=database.url("dagster", "postgresql+psycopg2"),
        ledger_url=f"http://127.0.0.1:{ports['postgrest']}",
        jwt_secret=secrets.jwt_secret,
        ledger_token=secrets.token("media_writer"),
        reader_token=secrets.token("media_reader"),
        vault_address=f"http://127.0.0.1:{ports['vault']}",
        vault_token=vault_token.result(),
        servers=servers,
    )


def _pipeline_credentials(secrets: StackSecrets) -> dict[str, str]:
    return {
        "object_store_access_key": secrets.s3_access_key,
        "object_store_secret_key": secrets.s3_secret_key,
        "ledger_token": secrets.token("media_writer"),
    }


def _stop_all(servers: dict[str, ServerProcess], report: Report) -> None:
    # The broker keeps its records in the object store: it goes first.
    first = {"event-log", "postgrest"}
    with ThreadPoolExecutor(4, "stop") as threads:
        for group in (first, servers.keys() - first):
            list(threads.map(ServerProcess.stop, (servers[one] for one in group if one in servers)))
    report(f"stopped {', '.join(servers) or 'nothing'}")


@contextmanager
def _exclusive(data_dir: Path) -> Iterator[None]:
    """One stack per data directory; the lock goes with the process, however it ends."""
    with (data_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SystemicError(
                f"a stack is already running on {data_dir}.",
                remedy="`media-pipeline status` shows it, `media-pipeline down` stops it.",
                code="stack_running",
            ) from error
        yield


def note_server(data_dir: Path, server: ServerProcess, environment: Mapping[str, str]) -> None:
    """Tell other shells of a server that runs beside the stack, and of its variables."""
    file = data_dir / STATE_FILE
    state = json.loads(file.read_text())
    state["servers"][server.name] = {"pid": server.pid, "log": str(server.log_file)}
    state["environment"].update(environment)
    write_private(file, json.dumps(state, indent=1))


def _write_state(stack: RunningStack) -> None:
    """For other shells: `status`, `down`, `env`. Holds the vault token, so it is private."""
    state = {
        "pid": os.getpid(),
        "servers": {
            name: {"pid": server.pid, "log": str(server.log_file)}
            for name, server in stack.servers.items()
        },
        "environment": stack.environment(),
    }
    write_private(stack.data_dir / STATE_FILE, json.dumps(state, indent=1))
