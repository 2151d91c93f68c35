"""Planning, doing, awaiting and proving a replay of missed events."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from media_pipeline import __version__
from media_pipeline.cli.dlq_sender import ReplayLease, Stop, stop_on_interrupt
from media_pipeline.cli.replay_launcher import DagsterLauncher
from media_pipeline.cli.world import World
from media_pipeline.domain.recovery import means_pause
from media_pipeline.domain.replays import Replay, Source, candidate_filter
from media_pipeline.errors import MediaPipelineError, PermanentError
from media_pipeline.replays.engine import Engine
from media_pipeline.replays.plan import WORDS, Plan, cpu_seconds, duration
from media_pipeline.replays.proof import Proof, prove_replay
from media_pipeline.replays.steps import Rules, Step, snapshot_steps, topic_range, topic_steps

LEASE = "event-replay"
INTERRUPTED = 130
_LOOK_SECONDS = 1.0
_TELL_SECONDS = 10.0


@dataclass(frozen=True)
class Request:
    """What a replay is about, as its row in the ledger keeps it."""

    source: Source
    wanted: Mapping[str, Any]
    place: Mapping[str, Any]

    @property
    def kinds(self) -> Sequence[str]:
        """Workloads of its backfills."""
        return list(self.wanted["kinds"])

    def steps(
        self, world: World, replay_id: str | None, place: Mapping[str, Any]
    ) -> Iterator[Step]:
        """What is left of it from that place on."""
        rules = Rules(self.wanted["force"], self.wanted["idle_seconds"], replay_id)
        if self.source == "topic":
            left = topic_range(self.wanted["range"]).from_place(place)
            buckets = world.settings.object_store.allowed_buckets
            return topic_steps(
                world.event_source, world.replay_store, world.ledger_audit, left, rules, buckets
            )
        wanted = candidate_filter(self.wanted["filter"])
        return snapshot_steps(world.replay_store, wanted, rules, place.get("after"))


@dataclass(frozen=True)
class Result:
    """What became of a replay; `proof` is None where nobody waited for its end."""

    replay: Replay
    proof: Proof | None
    complete: bool

    @property
    def good(self) -> bool:
        """Proven: all has ended, nothing was duplicated."""
        proof = self.proof
        return proof is not None and proof.holds and not proof.counts["unfinished"]

    def document(self) -> dict[str, Any]:
        """JSON-serializable."""
        return {
            "replay_id": self.replay.replay_id, "complete": self.complete,
            "run": self.replay.items, "backfills": len(self.replay.backfills),
            "counts": dict(self.replay.counts),
            "proof": self.proof.document() if self.proof else None,
        }  # fmt: skip


def request_of(replay: Replay) -> Request:
    """The request of a replay that stands in the ledger."""
    return Request(replay.source, replay.wanted, replay.place)


def the_replay(world: World, replay_id: str) -> Replay:
    """PermanentError when the ledger has no such replay."""
    found = world.replay_store.replays(replay_id, 1)
    if not found:
        raise PermanentError(
            f"the ledger has no replay {replay_id!r}. Nothing was done.",
            remedy="`media-pipeline replays` lists them.",
            code="unknown_replay",
        )
    return found[0]


def estimate(world: World, plan: Plan, kinds: Sequence[str]) -> dict[str, float] | None:
    """`cpu_seconds` and `seconds` with the workers of one run; None before anything ran."""
    work = cpu_seconds(plan.run, world.metadata_store.mean_seconds(), kinds)
    if work is None:
        return None
    from media_pipeline.workers.pool import available_cpus  # quick --help

    return {
        "cpu_seconds": round(work, 1),
        "seconds": round(work / (world.settings.processing.workers or available_cpus()), 1),
    }


def print_plan(plan: Plan, estimated: Mapping[str, float] | None, notes: Sequence[str]) -> None:
    """What would run, what is left and why, and how long it will take."""
    console = Console()
    table = Table(title=f"{plan.run} media assets to run")
    for column in ("number", "what"):
        table.add_column(column)
    for word, number in plan.counts.most_common():
        table.add_row(str(number), WORDS[word])
    if plan.counts:
        console.print(table)
    else:
        print("nothing was found")
    if plan.samples:
        print("first of them: " + ", ".join(plan.samples))
    if plan.run and estimated:
        took = f"{duration(estimated['seconds'])} ({estimated['cpu_seconds']:.0f} CPU seconds)"
        print(f"estimated time: {took}; live media go first, so it may be longer")
    elif plan.run:
        print("estimated time: unknown, nothing has run yet")
    for note in notes:
        print(note)


def pause_note(world: World) -> list[str]:
    """That the intake is paused, if it is: backfills run all the same."""
    pause = world.dead_letter_store.pause()
    if pause is None or not means_pause(pause.value):
        return []
    said = (
        f"The intake is paused since {pause.at} by {pause.who} ({pause.reason}). A replay runs all"
        " the same: make sure that it does not add to what the pause is for."
    )
    return [said]


def perform(
    world: World, replay: Replay, who: tuple[str, str], portion: int, wait_seconds: float | None
) -> Result:
    """Do a replay, or what is left of it; with `wait_seconds` until it has ended and is proven."""
    complete = launch(world, replay, who, portion)
    if not complete or wait_seconds is None:
        return Result(the_replay(world, replay.replay_id), None, complete)
    return await_end(world, replay, wait_seconds)


def launch(world: World, replay: Replay, who: tuple[str, str], portion: int) -> bool:
    """Note and launch all that is left of a replay; False when it was stopped before the end."""
    request, replay_id = request_of(replay), replay.replay_id
    launcher = _launcher(world, replay)
    with stop_on_interrupt() as stop:
        doing = f"replaying missed events ({replay_id})"
        ledger = world.dead_letter_store
        with ReplayLease(ledger, *who, time.monotonic, LEASE, doing) as lease:

            def before_each(counts: Mapping[str, int]) -> None:
                lease.renew()
                print(f"{sum(counts.values())} looked at", file=sys.stderr)

            engine = Engine(
                world.replay_store, world.metadata_store, launcher, __version__, portion,
                before_each, lambda: stop.asked,
            )  # fmt: skip
            try:
                engine.relaunch(replay)
                steps = request.steps(world, replay_id, replay.place)
                return replay.was_read or engine.run(replay, steps)
            except MediaPipelineError as error:
                raise _goes_on(error, replay_id) from error


def await_end(world: World, replay: Replay, seconds: float) -> Result:
    """Wait until a replay that was launched has ended, and prove it."""
    replay_id = replay.replay_id
    with stop_on_interrupt() as stop:
        _await(world, _launcher(world, replay), replay_id, seconds, stop)
    now = the_replay(world, replay_id)
    proof = prove_replay(world.replay_store, replay_id, int(now.counts.get("rejected_new", 0)))
    if not proof.counts["unfinished"]:
        world.replay_store.end(replay_id, proof.document())
    return Result(now, proof, complete=True)


def _launcher(world: World, replay: Replay) -> DagsterLauncher:
    return DagsterLauncher(world.settings, request_of(replay).kinds, replay.started_at)


def _await(
    world: World, launcher: DagsterLauncher, replay_id: str, seconds: float, stop: Stop
) -> None:
    """Until every version has ended, nothing is left that could end one, or the time is over."""
    started = told = time.monotonic()
    first: int | None = None
    while True:
        now = the_replay(world, replay_id)
        first = now.ended if first is None else first
        clock = time.monotonic()
        if now.ended >= now.items or clock - started > seconds:
            return
        backfills = [one for one in now.backfills.values() if one and one != "none"]
        if launcher.all_over(backfills):
            # What they did last may have come after the first look.
            if the_replay(world, replay_id).ended == now.ended:
                return
        elif clock - told > _TELL_SECONDS:
            told, done = clock, now.ended - first
            left = (now.items - now.ended) * (clock - started) / done if done else None
            eta = f", about {duration(left)} left" if left is not None else ""
            print(f"{now.ended} of {now.items} have ended{eta}", file=sys.stderr)
        if stop.wait(_LOOK_SECONDS):
            return


def tell(result: Result, *, as_json: bool) -> int:
    """Say what was done; answers the exit code."""
    replay, proof = result.replay, result.proof
    again = f"media-pipeline replay --resume {replay.replay_id} --yes --wait"
    if as_json:
        print(json.dumps({"yes": True, **result.document()}))
    else:
        print(
            f"replay {replay.replay_id}: {replay.items} media assets in {len(replay.backfills)}"
            " backfills"
        )
        if proof is not None:
            print(proof.summary())
        if not result.complete:
            print(f"interrupted; the rest: {again}")
        elif proof is None:
            print(f"how it ends: {again}")
        elif proof.unfinished:
            print(f"not all have ended, as {', '.join(proof.unfinished[:5])}. Look again: {again}")
    if not result.complete:
        return INTERRUPTED
    return 0 if proof is None or result.good else 1


def _goes_on(error: MediaPipelineError, replay_id: str) -> MediaPipelineError:
    """The same error, saying how the replay goes on."""
    return type(error)(
        f"{error.message} The replay {replay_id} stopped in between.",
        remedy=f"{error.remedy} Then: media-pipeline replay --resume {replay_id} --yes --wait.",
        code=error.code,
    )
