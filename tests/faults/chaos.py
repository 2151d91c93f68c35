"""A stream of media assets while servers, runs and Dagster itself are killed.

Runs are Kubernetes Jobs of the played cluster, as in production: a run outlives the daemon,
and the daemon finds out that a pod is gone. Whatever is struck comes back after a moment.
"""

import os
import random
import signal
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from media_pipeline.cli.dagster_process import dagster_environment, running_dagster
from media_pipeline.cli.producer import announce, upload
from media_pipeline.cli.world import World
from media_pipeline.errors import MediaPipelineError
from media_pipeline.local_stack.ports import free_port, listening
from tests.e2e.pipeline import wait_until
from tests.fakes.kubernetes import LocalCluster
from tests.faults.kubernetes_runs import LIGHT, QUICK, production_instance
from tests.stacks import throwaway_stack

SERVERS = ("postgresql", "postgrest", "object-store", "event-log")
STRIKES = ("pod", *SERVERS, "dagster")
VARIABLES = {
    **LIGHT,
    # What nobody works on is taken up soon: a test cannot wait for five minutes.
    "MEDIA_PIPELINE_BATCH__STRAGGLER_GRACE_SECONDS": "15",
    "MEDIA_PIPELINE_BATCH__STRAGGLER_INTERVAL_SECONDS": "5",
}
DOWN_SECONDS = 1.0


class Chaos:
    """Produces, strikes, and waits until everything has ended."""

    def __init__(self, stack, cluster, directory: Path, seed: int) -> None:
        self.stack, self.cluster, self.directory = stack, cluster, directory
        self.world = World(stack.settings())
        self.random = random.Random(seed)
        self.strikes: Counter[str] = Counter()
        self.announced: list[str] = []
        self._begun_before = 0
        self._dagster: ExitStack | None = None

    def start_dagster(self) -> None:
        instance = production_instance(self.cluster, self.directory, 60)
        self._dagster = ExitStack()
        api = self._dagster.enter_context(
            running_dagster(
                self.stack, free_port(), variables={**VARIABLES, **QUICK}, instance=instance
            )
        )
        self.cluster.environment |= {
            **dagster_environment(self.stack, api.url, instance), **VARIABLES,
        }  # fmt: skip

    def stop_dagster(self) -> None:
        if self._dagster is not None:
            self._dagster.close()

    def produce(self, prefix: str, count: int) -> None:
        """`count` media assets, one in ten of them broken, some announced twice."""
        self._begun_before = self._begun()
        uploads = []
        for number in range(count):
            name = f"{prefix}-{number}"
            if number % 10 == 9:
                data, kind = f"%PDF-1.7 broken {name}".encode(), "application/pdf"
            else:
                data, kind = f"Note {name}.\n".encode() * 50, "text/plain"
            uploads.append(upload(self.world, name, name, data, kind))
        announce(self.world, uploads)
        announce(self.world, uploads[:2])
        self.announced += [one.asset.asset_id for one in uploads]

    def strike(self, what: str) -> None:
        """Kill it with signal 9, and start it again."""
        self.strikes[what] += 1
        if what == "pod":
            running = [pod for pod in self.cluster.pods.values() if pod.phase == "Running"]
            if running:
                self.cluster.kill_pod(self.random.choice(running).name)
        elif what == "dagster":
            self._kill_dagster()
            self.start_dagster()
        else:
            self._kill_server(what)

    def run_is_under_way(self) -> bool:
        """Since `produce` a run has claimed something. A pod that dies before its run has started
        is only given up after the start timeout, a minute of waiting."""
        return self._begun() > self._begun_before

    def _begun(self) -> int:
        """Media assets that a run has claimed, or ended."""
        try:
            counts = self.world.metadata_store.counts().by_status
        except MediaPipelineError:
            return 0  # it has just been struck
        return sum(counts.values()) - counts.get("registered", 0)

    def await_the_end(self) -> None:
        """Until every announced media asset has ended and every event is out."""

        def done() -> bool:
            try:
                counts = self.world.metadata_store.counts()
            except MediaPipelineError:
                return False  # it has just been struck
            finished = sum(
                counts.by_status.get(one, 0) for one in ("complete", "partial", "dead_lettered")
            )
            return finished >= len(self.announced) and not counts.unpublished

        wait_until(done, "the end of every media asset")

    def _kill_server(self, name: str) -> None:
        server = self.stack.servers[name]
        os.killpg(server.pid, signal.SIGKILL)
        time.sleep(DOWN_SECONDS)  # calls meet nobody for this long
        server.stop()  # takes leave of the dead process
        server.start()
        server.wait_ready(self._answers[name])

    @property
    def _answers(self):
        """How one sees that a server is back; its log is in the error if it does not come."""
        ledger = urlsplit(self.stack.ledger_url).netloc
        addresses = {
            "postgrest": ledger, "object-store": self.stack.s3_endpoint,
            "event-log": self.stack.kafka_bootstrap,
        }  # fmt: skip
        ports = {name: int(address.rpartition(":")[2]) for name, address in addresses.items()}
        return {
            "postgresql": self._database_answers,
            **{name: partial(listening, port) for name, port in ports.items()},
        }

    def _database_answers(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(self.stack.postgres_dsn, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _kill_dagster(self) -> None:
        """Daemon, webserver and code server; pods have the same home and stay."""
        home = f"DAGSTER_HOME={self.stack.data_dir / 'dagster_home'}".encode()
        for process in Path("/proc").iterdir():
            if not process.name.isdigit() or int(process.name) == os.getpid():
                continue
            try:
                mine = home in (process / "environ").read_bytes().split(b"\0")
                command = (process / "cmdline").read_bytes()
                if mine and b"execute_run" not in command and b"dagster" in command:
                    os.kill(int(process.name), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has ended meanwhile, or is nobody of ours
        self.stop_dagster()


@contextmanager
def chaos_world(directory: Path, seed: int):
    """A stack, a cluster and Dagster of its own."""
    (directory / "cluster").mkdir(parents=True)
    with (
        throwaway_stack(directory / "stack") as stack,
        LocalCluster(dict(VARIABLES), directory / "cluster") as cluster,
    ):
        chaos = Chaos(stack, cluster, directory, seed)
        chaos.start_dagster()
        try:
            yield chaos
        finally:
            chaos.stop_dagster()
