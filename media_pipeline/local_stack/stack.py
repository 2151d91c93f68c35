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
#: What PostgREST verifies tokens with.
KEYS_FILE = "postgrest-keys.json"
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
    vault_role_id: str
    vault_secret_id_file: Path
    servers: Mapping[str, ServerProcess]

    def __repr__(self) -> str:
        return f"RunningStack({self.data_dir})"

    def environment(self) -> dict[str, str]:
        """Variables that make `Settings` mean this stack; no secret is among them."""
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
            # One identity, as in production; the secret id stays in its file.
            f"{prefix}VAULT__MODE": "workload_identity",
            f"{prefix}VAULT__AUTH": "approle",
            f"{prefix}VAULT__ROLE_ID": self.vault_role_id,
            f"{prefix}VAULT__SECRET_ID_FILE": str(self.vault_secret_id_file),
            f"{prefix}VAULT__IDENTITY_ROLE": vault.WORKLOAD,
            f"{prefix}VAULT__MOUNT": vault.MOUNT,
            f"{prefix}VAULT__PATH": vault.PATH,
            f"{prefix}OBJECT_STORE__STS_ROLE_ARN": object_store.role_arn(vault.WORKLOAD),
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
    """Side by side: vault; database -> PostgREST with the vault's keys; object store -> broker."""
    start = _Start(data_dir, servers, report)
    with ThreadPoolExecutor(3, "start") as threads:
        vault_ready = threads.submit(start.vault_chain)
        chains = [
            threads.submit(start.metadata_chain, vault_ready.result),
            threads.submit(start.object_chain),
        ]
        for chain in chains:
            chain.result()
        vault_token, role_id, secret_id_file = vault_ready.result()
    ports, secrets = start.ports, start.secrets
    return RunningStack(
        data_dir=data_dir,
        kafka_bootstrap=f"127.0.0.1:{ports['kafka']}",
        s3_endpoint=start.s3_endpoint,
        s3_access_key=secrets.s3_access_key,
        s3_secret_key=secrets.s3_secret_key,
        postgres_dsn=start.database.url("media"),
        dagster_postgres_url=start.database.url("dagster", "postgresql+psycopg2"),
        ledger_url=f"http://127.0.0.1:{ports['postgrest']}",
        jwt_secret=secrets.jwt_secret,
        ledger_token=secrets.token("media_writer"),
        reader_token=secrets.token("media_reader"),
        vault_address=start.vault_address,
        vault_token=vault_token,
        vault_role_id=role_id,
        vault_secret_id_file=secret_id_file,
        servers=servers,
    )


class _Start:
    """The servers in the order in which they need each other."""

    def __init__(self, data_dir: Path, servers: dict[str, ServerProcess], report: Report) -> None:
        self.data_dir = data_dir
        self.servers = servers
        self.report = report
        self.log_dir = data_dir / "logs"
        self.ports = remembered_ports(data_dir / "ports.json", _PORTS)
        self.secrets = load_or_make(data_dir / "secrets.json")
        self.database = Database(
            data_dir, self.ports["postgresql"], self.secrets.postgres_password, self.log_dir
        )
        self.s3_endpoint = f"127.0.0.1:{self.ports['weed-s3']}"
        self.vault_address = f"http://127.0.0.1:{self.ports['vault']}"

    def vault_chain(self) -> tuple[str, str, Path]:
        """(root token, role id, file of the secret id)."""
        server, token = vault.start(
            self.data_dir, self.ports["vault"], self.ports["vault-cluster"], self.secrets,
            self.log_dir,
        )  # fmt: skip
        self._note(server)
        vault.store(server, self.vault_address, token, _pipeline_credentials(self.secrets))
        login = vault.let_in(self.data_dir, self.vault_address, token, "media_writer")
        return token, *login

    def metadata_chain(self, wait_for_vault: Callable[[], object]) -> None:
        self._note(self.database.start())
        for name in apply_migrations(self.database.url("media")):
            self.report(f"applied migration {name}")
        # As in production: a role that may only become one of the others.
        self.database.allow_login("authenticator")
        url = self.database.url("media", user="authenticator")
        wait_for_vault()
        keys = self.data_dir / KEYS_FILE
        metadata_server.write_keys(keys, self.secrets, vault.public_keys(self.vault_address))
        self._note(metadata_server.start(self.ports["postgrest"], url, keys, self.log_dir))

    def object_chain(self) -> None:
        issuer = vault.issuer(self.ports["vault"])
        server = object_store.start(
            self.data_dir, self.ports, self.secrets, self.log_dir, issuer=issuer
        )
        self._note(server)
        self._note(
            event_log.start(self.ports["kafka"], self.s3_endpoint, self.secrets, self.log_dir)
        )

    def _note(self, server: ServerProcess) -> None:
        self.servers[server.name] = server
        self.report(f"{server.name} is up")


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
    """For other shells: `status`, `down`, `env`. Names the files with secrets, so it is private."""
    state = {
        "pid": os.getpid(),
        "servers": {
            name: {"pid": server.pid, "log": str(server.log_file)}
            for name, server in stack.servers.items()
        },
        "environment": stack.environment(),
    }
    write_private(stack.data_dir / STATE_FILE, json.dumps(state, indent=1))
