"""Every promise of a media asset is looked at, and a broken one is named."""

import hashlib
import json

import pytest

from media_pipeline.domain.dead_letters import VersionState
from media_pipeline.domain.operations import DayCount
from media_pipeline.domain.outcome import Code, Derivative, StoredArtifact
from media_pipeline.health.verification import Sample, Verification
from tests.fakes.event_log import FakeEventLog
from tests.fakes.object_store import FakeObjectStore

TOPIC = "media.asset_enriched.v1"
SAMPLES = [Sample("note", "v-note", "1", "complete"), Sample("blob", "v-blob", "1", "partial")]
KINDS = ("text", "thumbnails")


class System:
    """A deployed system in memory that did everything right, until a test breaks it."""

    def __init__(self) -> None:
        self.log, self.store = FakeEventLog(), FakeObjectStore()
        self.log.create(TOPIC, 2)
        self.log.append(TOPIC, 0, b"v-note", b"from before: nobody reads this")
        self.states: dict[str, VersionState] = {}
        self.counted = dict.fromkeys(KINDS, 100)
        self.now = 0.0
        self.verification = Verification(
            ledger=self, operations=self, object_store=self.store, event_source=self.log,
            enriched_topic=TOPIC, workloads=KINDS, clock=lambda: self.now, wait=self.wait,
        )  # fmt: skip

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def versions(self, keys):
        return [self.states[asset_id] for asset_id, _ in keys if asset_id in self.states]

    def daily_outcomes(self, days):
        from datetime import date

        return [DayCount(date(2026, 1, 1), k, "ok", n, 1.0) for k, n in self.counted.items()]

    def process(self) -> None:
        for sample in SAMPLES:
            rows = []
            for kind in KINDS:
                data = f"{sample.asset_id} {kind}".encode()
                key = f"derived/{sample.asset_id}/{kind}"
                self.store.put(key, data, "text/plain")
                digest = hashlib.sha256(data).hexdigest()
                part = StoredArtifact("t", "text/plain", key, digest, len(data))
                rows.append(
                    Derivative(
                        sample.asset_id, "1", 1, kind, "f", "d", 1, Code.OK, "", (part,), {}, 0.1
                    )
                )
                self.counted[kind] += 1
            self.states[sample.asset_id] = VersionState(
                sample.asset_id, "1", sample.expected, 1, tuple(rows)
            )
            body = {"schema_version": 1, "asset_id": sample.asset_id, "outcome": sample.expected}
            self.log.append(TOPIC, 1, sample.asset_id.encode(), json.dumps(body).encode())

    def findings(self):
        return self.verification.after(SAMPLES, self.before, 5)

    def wrong(self):
        return {(one.check, one.subject) for one in self.findings() if one.level != "ok"}


@pytest.fixture
def system(monkeypatch):
    monkeypatch.setattr(
        "media_pipeline.health.verification.parse_asset_enriched", json.loads
    )  # the contract has tests of its own
    made = System()
    made.before = made.verification.before()
    made.process()
    return made


def test_a_system_that_keeps_its_promises(system):
    assert system.wrong() == set()
    found = {(one.check, one.subject) for one in system.findings()}
    assert found == {
        *((check, one.name) for check in ("row", "objects", "event") for one in SAMPLES),
        *(("counter", kind) for kind in KINDS),
    }


def test_an_outcome_that_is_not_the_expected_one(system):
    state = system.states["v-note"]
    system.states["v-note"] = VersionState("v-note", "1", "partial", 1, state.derivatives)
    assert system.wrong() == {("row", "note")}


def test_a_row_that_lacks_a_workload(system):
    state = system.states["v-note"]
    system.states["v-note"] = VersionState("v-note", "1", "complete", 1, state.derivatives[:1])
    assert system.wrong() == {("row", "note")}


def test_an_object_that_is_missing_or_another(system):
    del system.store.objects["derived/v-note/text"]
    system.store.put("derived/v-blob/text", b"other", "text/plain")
    assert system.wrong() == {("objects", "note"), ("objects", "blob")}


def test_an_event_that_never_comes(system):
    system.log.topics[TOPIC][1].pop()
    assert system.wrong() == {("event", "blob")}
    assert system.now >= 5, "it was waited for"


def test_a_counter_that_stands_still(system):
    system.counted["text"] = 100
    assert system.wrong() == {("counter", "text")}


def test_nothing_happens_at_all():
    made = System()
    made.before = made.verification.before()
    found = made.findings()
    assert {one.level for one in found} == {"fail"}
    assert {one.figure for one in found if one.check == "row"} == {
        "not in the ledger, without text, thumbnails"
    }
