"""Paused workloads, and batches whose runs died: who is processed, who is accused."""

import pytest

from media_pipeline.assets.recovery import deferred, guarded, is_culprit
from media_pipeline.assets.workload import Workload, outcome_of
from media_pipeline.domain.outcome import Code, Outcomes, ProcessorResult
from media_pipeline.domain.recovery import Flag, Loss
from tests.fakes.ledger_story import VERSION, arrive
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.recovery_store import FakeRecoveryStore

TEXT = Workload("text", "text-1", {}, 1.0)
NAMES = ["a", "b", "c"]


class Killed(BaseException):
    """The end of the run's process: no `finally` would run, so the mark is put back."""


class World:
    def __init__(self):
        self.ledger = FakeMetadataStore()
        self.recovery = FakeRecoveryStore(self.ledger)
        self.seen = []
        self.poison = None
        self.runs = 0
        for name in NAMES:
            arrive(self.ledger, name)

    def process(self, claims):
        def stream():
            for claim in claims:
                name = claim.asset.asset_id
                self.seen.append(name)
                if name == self.poison:
                    raise Killed
                yield outcome_of(TEXT, claim, None, ProcessorResult(Code.OK))

        return Outcomes(stream(), expected=len(claims))

    def run(self):
        """One run; answers outcomes by media asset, or None when it died."""
        self.runs += 1
        run_id = f"run-{self.runs}"
        claims = self.ledger.claim(run_id, "root", NAMES)
        self.seen.clear()
        try:
            outcomes = guarded(TEXT, run_id, claims, self.recovery, 3, self.process)
            return {one.asset_id: one.result for one in outcomes}
        except Killed:
            # A killed process leaves its mark; `finally` has just taken it away.
            if self.runs > 1:
                fence = next(c.fence for c in claims if c.asset.asset_id == self.poison)
                self.recovery.enter_cage(self.poison, VERSION, "text", fence)
            return None


def test_a_first_try_goes_through_as_a_whole():
    world = World()
    found = world.run()
    assert {name: one.code for name, one in found.items()} == dict.fromkeys(NAMES, Code.OK)
    assert world.recovery.marks == set()


def test_the_file_that_kills_runs_ends_as_crash_and_its_neighbours_are_done():
    world = World()
    world.poison = "b"
    assert [world.run() for _ in range(3)] == [None, None, None]
    found = world.run()
    assert {name: one.code for name, one in found.items()} == {
        "a": Code.OK, "b": Code.CRASH, "c": Code.OK,
    }  # fmt: skip
    assert found["b"].message == (
        "3 runs in a row died, 2 of them with this file in the cage for text"
    )
    assert world.seen == ["a", "c"], "it was not decoded again"


def test_runs_that_die_of_something_else_accuse_nobody():
    world = World()
    for number in range(5):
        world.ledger.claim(f"dead-{number}", "root", NAMES)
    found = world.run()
    assert {one.code for one in found.values()} == {Code.OK}


def test_each_file_is_noted_while_it_is_in_the_cage_and_only_then():
    world = World()
    world.ledger.claim("dead", "root", NAMES)
    claims = world.ledger.claim("next", "root", NAMES)
    during = []

    def process(some):
        during.append(set(world.recovery.marks))
        return world.process(some)

    list(guarded(TEXT, "next", claims, world.recovery, 3, process))
    assert during == [{(name, VERSION, "text", 2)} for name in NAMES]
    assert world.recovery.marks == set()


def test_a_failure_that_is_no_death_leaves_no_mark():
    world = World()
    world.ledger.claim("dead", "root", NAMES)
    claims = world.ledger.claim("next", "root", NAMES)

    def process(_):
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        list(guarded(TEXT, "next", claims, world.recovery, 3, process))
    assert world.recovery.marks == set()


@pytest.mark.parametrize(
    ("lost", "marks", "attempts", "guilty"),
    [
        (3, {"text": 2}, 3, True),
        (3, {"text": 1}, 3, False),
        (2, {"text": 2}, 3, False),
        (3, {"ocr": 2}, 3, False),
        (9, {}, 3, False),
        (1, {"text": 1}, 1, True),
        (1, {}, 1, False),
    ],
)
def test_who_is_guilty(lost, marks, attempts, guilty):
    assert is_culprit(Loss("a", "1", lost, marks), "text", attempts) is guilty


def test_a_paused_workload_defers_everything_and_says_by_whom():
    world = World()
    claims = world.ledger.claim("r", "r", NAMES)
    found = list(deferred("ocr", claims, Flag("pause:workload:ocr", True, "storm", "ana", 0.0)))
    assert [one.asset_id for one in found] == NAMES
    assert {(one.kind, one.fingerprint, one.result.code) for one in found} == {
        ("ocr", "deferred", Code.DEFERRED)
    }
    assert found[0].result.message == "ocr is paused by ana: storm"
