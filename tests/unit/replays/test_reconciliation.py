"""Each comparison, and the whole of them over a world in memory in which something is broken."""

import json
import time
from dataclasses import replace

import pytest

from media_pipeline.domain.identity import derived_object_key
from media_pipeline.domain.ports import RejectedMessage
from media_pipeline.domain.reconciliation import AssetEnd, OverdueEvent
from media_pipeline.replays.findings import KINDS, Finding, Findings
from media_pipeline.replays.reconciliation import Facts, Window, input_of, reconcile, unrecorded
from media_pipeline.replays.steps import Rules, exactly, topic_range, topic_steps
from tests.contract.metadata_store.test_metadata_store import derivative, result
from tests.fakes.event_log import FakeEventLog
from tests.fakes.ledger_audit import FakeLedgerAudit
from tests.fakes.ledger_story import arrive
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.replay_store import FakeReplayStore

TOPIC = "media.ingested.v1"


class FakeMaterializations:
    def __init__(self):
        self.times = {}

    def latest(self, asset_ids):
        return {key: self.times[key] for key in asset_ids if key in self.times}

    def between(self, since, until):
        yield {key: at for key, at in self.times.items() if since <= at < until}


class World:
    """Three media assets, enriched and consistent; tests break something."""

    def __init__(self):
        self.log = FakeEventLog()
        self.log.create(TOPIC, 1)
        self.ledger, self.objects = FakeMetadataStore(), FakeObjectStore()
        self.audit, self.dagster = FakeLedgerAudit(self.ledger), FakeMaterializations()
        self.cursor = None
        for name in ("a", "b", "c"):
            self.enrich(name)

    def announce(self, name, version="1"):
        body = {
            "event_id": f"e-{name}", "occurred_at": "2026-01-01T00:00:00Z", "asset_id": name,
            "bucket": "media", "object_key": f"in/{name}", "etag": version,
        }  # fmt: skip
        return self.log.append(TOPIC, 0, name.encode(), json.dumps(body).encode())

    def enrich(self, name, version="1"):
        arrive(self.ledger, name, self.announce(name, version), f"etag:{version}")
        run = f"run-{name}-{version}"
        (claim,) = self.ledger.claim(run, run, [name])
        digest = f"digest-{name}-{version}"
        key = derived_object_key("text", digest, "text-1", "t.txt")
        row = derivative(name, claim.fence, version=f"etag:{version}")
        part = replace(row.artifacts[0], object_key=key)
        row = replace(row, input_digest=digest, artifacts=(part,))
        self.ledger.record(run, [replace(result(claim), derivatives=(row,))], "1")
        self.objects.put(key, b"text", "text/plain")
        self.dagster.times[name] = time.time()
        return key

    def reconcile(self, idle=0, **more):
        cursor = self.log.spans(TOPIC)[0].end if self.cursor is None else self.cursor
        facts = Facts(
            TOPIC, self.log, self.objects, self.audit, self.dagster, {0: cursor}, ("media",)
        )
        window = Window(time.time() - 60, time.time() + 60)
        return reconcile(facts, window, idle_seconds=idle, **more)


@pytest.fixture
def world():
    return World()


def only(found):
    assert len(found.kept) == 1, found.kept
    return found.kept[0]


def test_what_fits_is_clean(world):
    world.announce("a")  # a redelivery
    found = world.reconcile()
    assert found.clean
    assert found.compared == {
        "messages": 4, "versions": 3, "objects": 3, "materializations": 3,
    }  # fmt: skip
    assert found.document()["clean"]


def test_a_message_that_nobody_took(world):
    record = world.announce("lost")
    found = only(world.reconcile())
    assert (found.kind, found.subject, found.fix) == ("gap", record.coordinates, "message")
    assert (found.partition, found.offset) == (0, record.offset)


def test_a_message_that_the_sensor_has_not_come_to_is_no_gap(world):
    world.cursor = 3
    world.announce("later")
    assert world.reconcile().clean


def test_invalid_messages_are_known_by_their_letters(world):
    kept = world.log.append(TOPIC, 0, b"k", b"no json")
    lost = world.log.append(TOPIC, 0, b"k", b"no json")
    world.ledger.reject([RejectedMessage(kept, "contract", "malformed_json", "-")], "1")
    found = only(world.reconcile())
    assert (found.kind, found.subject) == ("gap", lost.coordinates)


def test_an_older_version_that_was_never_taken_is_no_gap(world):
    older = world.announce("d", "old")
    world.enrich("d", "new")
    assert older.offset < world.log.spans(TOPIC)[0].end
    assert world.reconcile().clean


def test_a_message_out_of_the_interval_is_not_judged(world):
    world.log.append(TOPIC, 0, b"k", b"no json", timestamp_ms=1000)
    assert world.reconcile().clean


def test_an_object_that_is_gone(world):
    key = world.enrich("d")
    del world.objects.objects[key]
    found = only(world.reconcile())
    assert (found.kind, found.subject, found.fix, found.asset_id) == (
        "missing_object", key, "asset", "d",
    )  # fmt: skip


def test_an_object_of_a_replaced_version_cannot_be_made_again(world):
    key = world.enrich("d", "1")
    world.enrich("d", "2")
    del world.objects.objects[key]
    found = world.reconcile()
    assert (only(found).kind, only(found).fix) == ("missing_object", None)
    assert found.assets() == []


def test_an_object_that_belongs_to_nobody(world):
    known = derived_object_key("text", "digest-a-1", "text-0", "t.txt")
    world.objects.put(known, b"of an earlier processor", "text/plain")
    world.objects.put("derived/other", b"not ours", "text/plain")
    assert world.reconcile().clean
    key = derived_object_key("text", "digest-of-nobody", "text-1", "t.txt")
    world.objects.put(key, b"x", "text/plain")
    found = only(world.reconcile())
    assert (found.kind, found.subject, found.fix) == ("orphan_object", key, None)
    world.objects.modified[key] = time.time() - 3600
    assert world.reconcile().clean, "stored before the interval"


def test_enriched_but_unknown_to_dagster_and_the_other_way_round(world):
    del world.dagster.times["a"]
    found = only(world.reconcile())
    assert (found.kind, found.subject, found.fix) == ("unmaterialized", "a", "asset")
    world.dagster.times |= {"a": time.time(), "stranger": time.time()}
    found = only(world.reconcile())
    assert (found.kind, found.subject, found.fix) == ("unrecorded", "stranger", None)


def test_an_outcome_after_the_materialization_explains_it():
    def kinds(end):
        return [one.fix for one in unrecorded({"x": 100.0}, {"x": end})]

    assert kinds(AssetEnd(enriched=True, finished=50.0)) == []
    assert kinds(AssetEnd(enriched=False, finished=150.0)) == []
    assert kinds(AssetEnd(enriched=False, finished=50.0)) == ["asset"]
    assert kinds(AssetEnd(enriched=False, finished=None)) == ["asset"]


def test_the_unfinished_and_the_unpublished(world):
    arrive(world.ledger, "late", world.announce("late"), "etag:1")
    world.audit.overdue.append(OverdueEvent("e1", "media.asset_enriched.v1", 7200.0))
    found = world.reconcile()
    assert found.counts == {"stalled": 1, "overdue_event": 1}
    assert [one.fix for one in found.kept] == ["asset", None]
    assert found.assets() == ["late"]
    assert world.reconcile(idle=600).counts == {"overdue_event": 1}


@pytest.mark.parametrize(
    ("key", "made_of"),
    [
        ("derived/text/abc/text-1/t.txt", ("text", "abc")),
        ("derived/text/none/text-1/t.txt", None),
        ("derived/text/abc", None),
        ("manifests/text/run.json.gz", None),
    ],
)
def test_what_an_object_was_made_of(key, made_of):
    assert input_of(key) == made_of


def test_all_are_counted_and_some_are_kept():
    found = Findings(keep=2)
    for number in range(5):
        found.add(Finding("stalled", f"a{number}", "-", "asset", f"a{number}"))
    found.add(Finding("gap", "t/0/1", "-", "message", None, 0, 1))
    assert found.cut
    assert found.counts == {"stalled": 5, "gap": 1}
    assert found.assets() == ["a0", "a1"]
    (first, second) = found.lines()
    assert first.startswith("5 stalled: an unfinished media asset")
    assert "Remedy: media-pipeline reconcile --fix" in second
    assert set(found.document()["remedies"]) == {"stalled", "gap"}
    assert all(remedy for _, remedy in KINDS.values())


def test_found_messages_are_replayed_exactly(world):
    for name in ("x", "y", "z"):
        world.announce(name)
    gone = [3, 5]
    meant = topic_range(json.loads(json.dumps(exactly(TOPIC, [(0, n) for n in gone]).described())))
    store = FakeReplayStore(world.ledger)
    steps = topic_steps(world.log, store, world.audit, meant, Rules(idle_seconds=0), ("media",))
    assert [version[0] for step in steps for version in step.versions] == ["x", "z"]
