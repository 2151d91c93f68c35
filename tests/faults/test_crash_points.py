"""The process dies before and after every effect on the outside world; nothing is lost.

One chain: each child meets new messages and what the dead ones before it left behind, and dies
at the next point. The last one is let live, and then the invariant must hold. `make soak`
takes every point, and every pair of them, one by one.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from media_pipeline.cli.producer import announce, upload
from media_pipeline.cli.world import World
from media_pipeline.crash_points import KILLED
from media_pipeline.domain.ports import OutgoingEvent
from tests.faults.checker import Facts, violations

ROOT = Path(__file__).resolve().parents[2]
POINTS = (
    "metadata_store.register:before",
    "metadata_store.register:after",
    "metadata_store.reject:after",
    "metadata_store.claim:before",
    "metadata_store.claim:after",
    "object_store.fetch:after",
    "object_store.put:before",
    "object_store.put:after#2",
    "metadata_store.record:before",
    "metadata_store.record:after",
    "event_sink.publish:before",
    "event_sink.publish:after",
    "metadata_store.mark_published:after",
)


class OneProcess:
    """Children on one stack; `run` answers how the child ended."""

    def __init__(self, stack, home: Path, **variables: str) -> None:
        self.home = home
        self.log = (home / "children.log").open("w")
        self.environment = {
            **stack.environment(),
            "MEDIA_PIPELINE_WORKLOADS": '["text"]',
            "MEDIA_PIPELINE_BATCH__STRAGGLER_GRACE_SECONDS": "0",
            "MEDIA_PIPELINE_PROCESSING__WORKERS": "1",
            **variables,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.one_process"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )  # fmt: skip

    def run(self, crash_at: str | None = None) -> int:
        environment = dict(self.environment)
        if crash_at:
            environment["MEDIA_PIPELINE_CRASH_AT"] = crash_at
        asked = {"environment": environment, "home": str(self.home)}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.log.close()

    def said(self) -> str:
        return Path(self.log.name).read_text()[-3000:]


@pytest.fixture(scope="module")
def world(stack):
    return World(stack.settings())


@pytest.fixture
def children(stack, tmp_path):
    running = OneProcess(stack, tmp_path)
    yield running
    running.close()


def produce(world, prefix: str, number: int) -> list[str]:
    """Two good files, a broken one and an invalid message."""
    names = [f"{prefix}-{number}-{one}" for one in ("a", "b", "broken.pdf")]
    files = [
        upload(world, names[0], "a.txt", f"Note {names[0]}.".encode(), "text/plain"),
        upload(world, names[1], "b.txt", f"Note {names[1]}.".encode(), "text/plain"),
        upload(world, names[2], "c.pdf", f"%PDF-1.7 {names[2]}".encode(), "application/pdf"),
    ]
    announce(world, files)
    topic = world.settings.kafka.ingested_topic
    key = f"{prefix}-invalid-{number}"
    world.event_sink.publish([OutgoingEvent(key, topic, key.encode(), b'{"cut')])
    return names


@pytest.mark.timeout(400)
def test_a_chain_of_deaths_loses_and_doubles_nothing(stack, world, children):
    prefix, announced = "chain", []
    for number, point in enumerate(POINTS):
        announced += produce(world, prefix, number)
        assert children.run(point) == KILLED, f"{point} was not reached: {children.said()}"
    # Each death of a run is a loss of its whole batch; after enough of them it takes its time.
    assert children.run() == 0, children.said()
    facts = Facts(world, stack.postgres_dsn, prefix)
    assert violations(facts, announced, invalid=len(POINTS)) == []
    statuses = {row["asset_id"]: row["status"] for row in facts.versions}
    assert {statuses[name] for name in announced if name.endswith("pdf")} == {"dead_lettered"}
    assert {statuses[name] for name in announced if not name.endswith("pdf")} == {"complete"}
