"""The process dies before and after every effect on the outside world; nothing is lost.

One chain: each child meets new messages and what the dead ones before it left behind, and dies
at the next point. The last one is let live, and then the invariant must hold. `make soak`
takes every point, and every pair of them, one by one.
"""

import pytest

from media_pipeline.cli.producer import announce, upload
from media_pipeline.crash_points import KILLED
from media_pipeline.domain.ports import OutgoingEvent
from tests.faults.checker import Facts, violations

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
#: Those of the chain: each effect once, where dying hurts most.
CHAIN = (
    "metadata_store.register:after",
    "metadata_store.reject:after",
    "metadata_store.claim:after",
    "object_store.put:after#2",
    "metadata_store.record:after",
    "event_sink.publish:after",
)


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


@pytest.mark.timeout(900)
def test_a_chain_of_deaths_loses_and_doubles_nothing(stack, world, children):
    prefix, announced = "chain", []
    for number, point in enumerate(CHAIN):
        announced += produce(world, prefix, number)
        assert children.run(point) == KILLED, f"{point} was not reached: {children.said()}"
    # Each death of a run is a loss of its whole batch; after enough of them it takes its time.
    assert children.run() == 0, children.said()
    facts = Facts(world, stack.postgres_dsn, prefix)
    assert violations(facts, announced, invalid=len(CHAIN)) == []
    statuses = {row["asset_id"]: row["status"] for row in facts.versions}
    assert {statuses[name] for name in announced if name.endswith("pdf")} == {"dead_lettered"}
    assert {statuses[name] for name in announced if not name.endswith("pdf")} == {"complete"}
