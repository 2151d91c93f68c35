"""Portions, and every place where a replay may die between ledger and Dagster."""

import itertools
import uuid
from collections import Counter
from dataclasses import replace

import pytest

from media_pipeline.domain.outcome import Code
from media_pipeline.domain.replays import Portion
from media_pipeline.replays.engine import Engine
from media_pipeline.replays.proof import prove_replay
from media_pipeline.replays.steps import Step
from tests.contract.metadata_store.test_metadata_store import arrival, derivative, result
from tests.fakes.ledger_story import run
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.replay_store import FakeReplayStore


class FakeLauncher:
    """Dagster in memory; `dies` is called before a launch."""

    def __init__(self):
        self.known = set()
        self.backfills = {}
        self.dies = lambda: None

    def add_partitions(self, keys):
        self.known |= set(keys)

    def launched_before(self, replay_id, number):
        return f"b{number}" if (replay_id, number) in self.backfills else None

    def launch(self, replay_id, number, keys):
        self.dies()
        assert set(keys) <= self.known
        assert (replay_id, number) not in self.backfills, "launched twice"
        self.backfills[replay_id, number] = list(keys)
        return f"b{number}"


class DiedError(Exception):
    pass


@pytest.fixture
def world():
    ledger = FakeMetadataStore()
    store, launcher = FakeReplayStore(ledger), FakeLauncher()
    store.begin("r", "topic", {}, "anna", "host", {"0": 0})
    return ledger, store, launcher


def steps(count, size=100, start=0):
    for first in range(start, count, size):
        arrivals = [arrival(f"a{n:06}") for n in range(first, min(first + size, count))]
        yield Step(
            {"0": first + len(arrivals)}, arrivals,
            [(one.asset.asset_id, one.asset.content_version) for one in arrivals], [],
            Counter(missing=len(arrivals)),
        )  # fmt: skip


def engine(world, **more):
    ledger, store, launcher = world
    return Engine(store, ledger, launcher, "1", **{"portion_size": 250, **more})


def row(world):
    return world[1].replays("r", 1)[0]


def test_portions_are_bounded_and_everything_is_launched_once(world):
    ledger, _, launcher = world
    assert engine(world).run(row(world), steps(1050))
    assert [len(keys) for keys in launcher.backfills.values()] == [200] * 4 + [250]
    found = row(world)
    assert (found.items, found.counts["missing"], found.was_read) == (1050, 1050, True)
    assert found.place == {"0": 1050}
    assert set(found.backfills.values()) == {f"b{n}" for n in range(5)}
    assert len(ledger.rows) == 1050


def test_a_media_asset_comes_once_per_portion(world):
    def twice():
        for version in ("sha256:1", "sha256:2"):
            one = arrival("a", version)
            yield Step({"0": 1}, [one], [("a", version)], [], Counter(missing=1))

    assert engine(world).run(row(world), twice())
    assert list(world[2].backfills.values()) == [["a"], ["a"]]


def test_stopped_and_resumed_it_goes_on_where_it_was(world):
    stops = itertools.chain([False, True], itertools.repeat(False))
    assert not engine(world, stopped=lambda: next(stops)).run(row(world), steps(1000))
    found = row(world)
    assert not found.was_read
    assert found.place == {"0": 400}
    assert engine(world).run(found, steps(1000, start=400))
    launched = [key for keys in world[2].backfills.values() for key in keys]
    assert len(launched) == len(set(launched)) == 1000
    assert row(world).counts == {"missing": 1000}


def test_killed_before_the_launch_it_is_launched_by_the_next_try(world):
    def die():
        raise DiedError

    world[2].dies = die
    with pytest.raises(DiedError):
        engine(world).run(row(world), steps(200))
    assert row(world).backfills == {0: None}
    world[2].dies = lambda: None
    assert engine(world).relaunch(row(world)) == 1
    assert len(world[2].backfills["r", 0]) == 200


def test_killed_after_the_launch_it_is_not_launched_again(world):
    _, store, launcher = world
    noted, store.launched = store.launched, lambda *_: (_ for _ in ()).throw(DiedError())
    with pytest.raises(DiedError):
        engine(world).run(row(world), steps(200))
    store.launched = noted
    assert row(world).backfills == {0: None}
    assert engine(world).relaunch(row(world)) == 1
    assert row(world).backfills == {0: "b0"}
    assert len(launcher.backfills) == 1


def test_nothing_to_run_launches_nothing(world):
    assert engine(world).run(row(world), iter([Step({"0": 9}, counts=Counter(complete=9))]))
    found = row(world)
    assert (found.backfills, found.place, found.counts) == ({}, {"0": 9}, {"complete": 9})
    assert found.was_read


def test_many_empty_steps_are_noted_now_and_then(world):
    places = []
    told = engine(world, before_each=lambda counts: places.append(counts["complete"]))
    assert told.run(row(world), (Step({"0": n}, counts=Counter(complete=1)) for n in range(1, 101)))
    assert places == [40, 80, 100]


def enrich(ledger, asset_id, code=Code.OK):
    """As `run`, with an input of its own."""
    (claim,) = ledger.claim(uuid.uuid4().hex, "root", [asset_id])
    row = replace(derivative(asset_id, claim.fence, code), input_digest=f"digest of {asset_id}")
    status = "complete" if code is Code.OK else "dead_lettered"
    found = replace(result(claim, status), derivatives=(row,))
    run_id = next(one.run_id for key, one in ledger.rows.items() if key[0] == asset_id)
    assert ledger.record(run_id, [found], "1")[0].accepted


# --- proof ------------------------------------------------------------------------------------


def test_a_proof_counts_each_end(world):
    ledger, store, _ = world
    names = ["new", "same", "bad", "late", "old"]
    ledger.register([arrival(name) for name in names if name != "new"])
    for name in ("same", "bad", "old"):
        enrich(ledger, name)
    found = [(name, "sha256:1") for name in names]
    store.note("r", Portion(0, {}, {}, [arrival("new")], found, complete=True))
    enrich(ledger, "new")
    enrich(ledger, "same")
    enrich(ledger, "bad", Code.INVALID)
    ledger.register([arrival("old", "sha256:2")])
    proof = prove_replay(store, "r", rejected=2)
    assert proof.document() == {
        "new": 1, "identical": 1, "changed": 0, "dead_lettered": 1, "superseded": 1,
        "unfinished": 1, "rejected": 2, "duplicates": 0,
    }  # fmt: skip
    assert proof.unfinished == ["late"]
    assert "0 duplicate objects, 0 duplicate rows" in proof.summary()


def test_the_same_content_under_two_keys_is_a_duplicate(world):
    ledger, store, _ = world
    ledger.register([arrival("a")])
    run(ledger, "a")
    store.note("r", Portion(0, {}, {}, [], [("a", "sha256:1")], complete=True))
    run(ledger, "a")
    stored = ledger.rows["a", "sha256:1"].derivatives
    part = replace(stored["text"].artifacts[0], object_key="derived/elsewhere")
    stored["text"] = replace(stored["text"], artifacts=(part,))
    proof = prove_replay(store, "r")
    assert (proof.holds, proof.duplicates) == (False, 1)
    assert "1 DUPLICATES" in proof.summary()
