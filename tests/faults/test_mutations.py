"""The checker would notice: each guard of the ledger is taken out once, and it must turn red.

A zombie tells its story against the real SQL in a database of its own, with the same stand-in
in front: a run is taken for dead, its retry enriches the media asset, and then the first one
comes back and reports a failure. Events are relayed twice in between.
"""

import re
from types import SimpleNamespace

import psycopg
import pytest

from media_pipeline.assets.enrichment import judge
from media_pipeline.domain.outcome import Code, Derivative, StoredArtifact
from media_pipeline.local_stack import metadata_server
from media_pipeline.local_stack.migrations import apply_migrations
from media_pipeline.local_stack.ports import free_port
from resources.metadata_store import PostgrestMetadataStore
from sensors.outbox_relay import relay
from tests.contract.metadata_store.conftest import client_for
from tests.fakes.event_log import FakeEventLog
from tests.fakes.ledger_story import arrive
from tests.faults.checker import Facts, violations

#: name -> (function of the ledger, what is replaced in it, by what, word of the verdict)
MUTATIONS = {
    "nothing": (None, "", "", None),
    "the fence is not looked at": (
        "record", r"when m\.fence <> i\.fence or[^\n]*then 'stale_fence'", "", "dead letters",
    ),
    "no event is kept": (
        "record", r"verdict = 'ok' and status in \('complete', 'partial'\) and event is not null",
        "false", "0 events",
    ),
    "a failure writes no letter": (
        "bury", r"i\.status = 'dead_lettered' and i\.dead_letter is not null", "false",
        "0 dead letters",
    ),
    "marked as published, whatever it was": (
        "mark_published", r"event_id = any\(event_ids\) and", "true or event_id is null and",
        "in no topic",
    ),
    "counters count nothing": ("count_status", r"count = status_total\.count \+", "count = 0 *",
        "counters say"),
}  # fmt: skip


@pytest.fixture(scope="module")
def database(stack):
    """(dsn, client): an empty ledger of its own behind a PostgREST stand-in of its own."""
    name = "mutations"
    with psycopg.connect(stack.postgres_dsn, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    dsn = re.sub(r"/media(\?|$)", rf"/{name}\1", stack.postgres_dsn)
    assert dsn != stack.postgres_dsn
    apply_migrations(dsn)
    keys = next(stack.data_dir.rglob("*keys*.json"))
    port = free_port()
    server = metadata_server.start(port, dsn, keys, stack.data_dir / "mutations")
    yield dsn, client_for(f"http://127.0.0.1:{port}", stack.ledger_token)
    server.stop()


@pytest.fixture
def mutated(database, request):
    """The ledger with one function changed, and as it was afterwards."""
    dsn, client = database
    function, pattern, instead, _ = MUTATIONS[request.param]
    original = None
    if function:
        with psycopg.connect(dsn, autocommit=True) as connection:
            (original,) = connection.execute(
                f"select pg_get_functiondef('media.{function}'::regproc)"
            ).fetchone()
            changed, times = re.subn(pattern, instead, original)
            assert times >= 1, f"{pattern!r} is not in {function} any more"
            connection.execute(changed)
    yield request.param, dsn, PostgrestMetadataStore(client)
    if original:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(original)


def derivatives(claims, code, objects):
    """Rows of `text` for each claim; what ended well has its object."""
    found = {}
    for claim in claims:
        name = claim.asset.asset_id
        parts = ()
        if code is Code.OK:
            objects.add(f"derived/{name}")
            parts = (StoredArtifact("t", "text/plain", f"derived/{name}", "d" * 64, 1),)
        found[name] = Derivative(
            name, claim.asset.content_version, claim.fence, "text", "f-1", "d" * 64, 1, code,
            "", parts, {}, 0.1,
        )  # fmt: skip
    return {"text": found}


class Story:
    def __init__(self, stack, ledger, prefix):
        settings = stack.settings()
        self.ledger, self.prefix, self.objects = ledger, prefix, set()
        self.log = FakeEventLog()
        self.enriched = settings.kafka.enriched_topic
        for topic in (self.enriched, settings.kafka.dead_letter_topic):
            self.log.create(topic, 3)
        store = SimpleNamespace(list_keys=lambda _: self.objects)
        self.world = SimpleNamespace(settings=settings, event_source=self.log, object_store=store)

    def report(self, run, claims, code):
        rows = derivatives(claims, code, self.objects)
        self.ledger.record(run, judge(claims, rows, run, self.enriched), "9.9")

    def relay(self):
        relay(self.ledger, self.log, chunk=1, deadline_seconds=20)

    def tell(self):
        names = [f"{self.prefix}-{one}" for one in ("twice-run", "broken", "good")]
        for name in names:
            arrive(self.ledger, name)
        run, retry, other = (f"{self.prefix}-run-{one}" for one in (1, 2, 3))
        zombie = self.ledger.claim(run, run, names[:1], run_created=1)
        second = self.ledger.claim(retry, run, names[:1], run_created=2)
        self.report(retry, second, Code.OK)
        self.relay()
        self.report(run, zombie, Code.INVALID)
        self.report(run, zombie, Code.INVALID)
        for name, code in ((names[1], Code.INVALID), (names[2], Code.OK)):
            claims = self.ledger.claim(other + name, other + name, [name], run_created=3)
            self.report(other + name, claims, code)
            self.report(other + name, claims, code)
        self.relay()
        return names


@pytest.mark.parametrize("mutated", MUTATIONS, indirect=True)
def test_the_checker_sees_it(stack, mutated):
    mutation, dsn, ledger = mutated
    prefix = f"m{list(MUTATIONS).index(mutation)}"
    story = Story(stack, ledger, prefix)
    names = story.tell()
    found = violations(Facts(story.world, dsn, prefix), names)
    expected = MUTATIONS[mutation][3]
    if expected is None:
        assert found == []
    else:
        assert any(expected in one for one in found), found
