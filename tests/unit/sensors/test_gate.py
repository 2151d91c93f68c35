"""What keeps the intake closed, and what opens it again."""

import dagster as dg
import pytest

from media_pipeline.domain.recovery import Breaker, Controls, Flag
from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.run_retries import systemic_errors_stop_retries
from sensors.gate import Gate, gate_of, look
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.recovery_store import FakeRecoveryStore


class Probe:
    def __init__(self):
        self.error = None
        self.asked = 0

    def probe(self):
        self.asked += 1
        if self.error:
            raise self.error


class World:
    def __init__(self, instance):
        self.instance = instance
        self.recovery = FakeRecoveryStore(FakeMetadataStore())
        self.ledger = self.recovery.ledger
        self.probe = Probe()

    def look(self):
        return look(self.instance, self.recovery, self.probe)

    def passes(self, seconds):
        now = self.ledger.clock
        self.ledger.clock = lambda: now() + seconds

    def run_stops(self, code="bucket_missing", error=SystemicError):
        @dg.job
        def nothing(): ...

        run = self.instance.create_run_for_job(nothing)
        with (
            pytest.raises(error),
            systemic_errors_stop_retries(self.instance, run.run_id),
        ):
            raise error("no bucket.", remedy="make it.", code=code)
        return run.run_id


@pytest.fixture
def world():
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(instance)


def flag(name, value, who="ana"):
    return Flag(name, value, "storm", who, 1_800_000_000.0)


def breaker(state, wait=12.4):
    return Breaker("model_digest", state, "wrong file. Remedy: import.", "r1", 1, 0.0, wait)


PAUSED = "Paused by ana since 2027-01-15T08:00:00+00:00: storm"


@pytest.mark.parametrize(
    ("controls", "expected"),
    [
        (Controls(), Gate()),
        (
            Controls((flag("pause", {"paused": True}),)),
            Gate(PAUSED),
        ),
        (Controls((flag("pause", {"paused": False}),)), Gate()),
        (Controls((flag("pause", True),)), Gate(PAUSED)),
        (Controls((flag("pause:workload:ocr", {"paused": True}),)), Gate()),
        (
            Controls((flag("pause:bucket:scans", {"paused": True}),)),
            Gate(paused_buckets=frozenset({"scans"})),
        ),
        (
            Controls((), (breaker("open"),)),
            Gate(
                "Breaker model_digest is open (run r1): wrong file. Remedy: import."
                " Dependencies are probed in 12 s."
            ),
        ),
        (Controls((), (breaker("half_open"),)), Gate(trial=True)),
        (
            Controls((), (breaker("half_open"), breaker("open", -3))),
            gate_of(Controls((), (breaker("open", 0),))),
        ),
    ],
)  # fmt: skip
def test_pauses_and_breakers(controls, expected):
    assert gate_of(controls) == expected


def test_a_run_that_stopped_closes_the_gate_until_a_probe_and_an_outcome(world):
    run_id = world.run_stops()
    closed = world.look().closed
    assert f"Breaker bucket_missing is open (run {run_id})" in closed
    assert "Remedy: make it." in closed
    assert world.probe.asked == 0, "not yet its time"
    world.passes(31)
    world.probe.error = SystemicError("still none.", remedy="make it.", code="bucket_missing")
    assert "still none." in world.look().closed
    world.passes(31)
    world.probe.error = None
    assert world.look() == Gate(trial=True)
    assert world.look() == Gate(trial=True), "the run is old news"
    assert world.probe.asked == 2


def test_what_concerns_one_run_alone_closes_nothing(world):
    world.run_stops("run_superseded")
    world.run_stops("batch_changed")
    assert world.look() == Gate()


def test_a_transient_failure_closes_nothing(world):
    world.run_stops(error=TransientError)
    assert world.look() == Gate()


def test_an_idle_look_asks_nobody(world):
    assert world.look() == Gate()
    assert world.probe.asked == 0
