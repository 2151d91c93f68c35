"""The long version: every crash point, every pair of them, and chaos for as long as you like.

    python -m tests.faults.soak [--minutes 15] [--assets 500] [--seed 1]
        [--skip-points | --skip-chaos]

Prints a table of crash points and the figures of the chaos run; ends with 1 when anything was
lost or doubled.
"""

import argparse
import itertools
import random
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from media_pipeline.cli.world import World
from media_pipeline.crash_points import KILLED
from media_pipeline.local_stack.stack import embedded_stack
from tests.e2e.pipeline import wait_until
from tests.faults.chaos import STRIKES, chaos_world
from tests.faults.checker import Facts, repeated, violations
from tests.faults.children import OneProcess
from tests.faults.scrapes import counted, scraped, totals
from tests.faults.test_crash_points import POINTS, produce

_WAVE = 25


def points(console: Console, seconds: float, seed: int) -> int:
    """Each point alone, then pairs, shuffled, until the time is up; answers how many went wrong."""
    table = Table(title="crash points")
    for column in ("died at", "then at", "recovered", "told twice", "wrong"):
        table.add_column(column, overflow="fold")
    failed, deadline = 0, time.monotonic() + seconds
    cases = [(point, None) for point in POINTS]
    pairs = list(itertools.permutations(POINTS, 2))
    random.Random(seed).shuffle(pairs)  # another seed, other pairs
    cases += pairs
    with tempfile.TemporaryDirectory() as directory, embedded_stack(Path(directory)) as stack:
        world = World(stack.settings())
        for number, (first, second) in enumerate(cases):
            if second is not None and time.monotonic() > deadline:
                console.print(f"{number} of {len(cases)} cases before the time was up")
                break
            home = Path(directory) / f"case-{number}"
            home.mkdir()
            wrong, twice = _case(stack, world, home, f"p{number}", first, second)
            failed += bool(wrong)
            table.add_row(first, second or "", "yes" if not wrong else "NO", str(twice),
                          "\n".join(wrong[:5]))  # fmt: skip
    console.print(table)
    return failed


def _case(stack, world, home, prefix, first, second) -> tuple[list[str], int]:
    children = OneProcess(stack, home)
    try:
        names = produce(world, prefix, 0)
        wrong = [] if children.run(first) == KILLED else [f"{first} was not reached"]
        if second is not None:
            # Reached only where something is left to do there: both are an outcome.
            children.run(second)
        if children.run() != 0:
            wrong.append(f"no recovery: {children.said()[-500:]}")
        facts = Facts(world, stack.postgres_dsn, prefix + "-")
        return wrong + violations(facts, names, invalid=1), repeated(facts)
    finally:
        children.close()


def chaos(console: Console, seconds: float, assets: int, seed: int) -> int:
    """A stream of `assets` media assets or more, struck at random until the time is up."""
    with (
        tempfile.TemporaryDirectory() as directory,
        chaos_world(Path(directory), seed) as world,
        scraped(world.stack, Path(directory)) as scrapes,
    ):
        started = time.monotonic()
        wave = 0
        while len(world.announced) < assets or time.monotonic() - started < seconds:
            world.produce(f"soak-{wave}", _WAVE)
            wait_until(world.run_is_under_way, "a run to disturb")
            time.sleep(world.random.uniform(0, 4))  # at any moment of the run
            world.strike(world.random.choice(STRIKES))
            wave += 1
        world.await_the_end()
        facts = Facts(world.world, world.stack.postgres_dsn, "soak-")
        wrong = violations(facts, world.announced)
        told = counted(facts)
        wait_until(lambda: totals(scrapes)["status"] == told["status"], "a scrape of the end")
        if totals(scrapes) != told:
            wrong.append(f"counters say {totals(scrapes)}, the rows {told}")
        console.print(
            f"{len(world.announced)} media assets, {sum(world.strikes.values())} strikes"
            f" {dict(world.strikes)}, {len(world.cluster.pods)} runs,"
            f" {time.monotonic() - started:.0f} s, {repeated(facts)} events told twice,"
            f" {len(wrong)} violations"
        )
    for one in wrong[:50]:
        console.print(one, markup=False)
    return len(wrong)


def main() -> int:
    """Points for a third of the time, chaos for the rest; one alone has all of it."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    arguments.add_argument("--minutes", type=float, default=15)
    arguments.add_argument("--assets", type=int, default=500)
    arguments.add_argument("--seed", type=int, default=1)
    only = arguments.add_mutually_exclusive_group()
    only.add_argument("--skip-points", action="store_true")
    only.add_argument("--skip-chaos", action="store_true")
    options = arguments.parse_args()
    console, seconds = Console(), options.minutes * 60
    shares = {"points": seconds / 3, "chaos": seconds * 2 / 3}
    if options.skip_points or options.skip_chaos:
        shares = dict.fromkeys(shares, seconds)
    failed = 0 if options.skip_points else points(console, shares["points"], options.seed)
    if not options.skip_chaos:
        failed += chaos(console, shares["chaos"], options.assets, options.seed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
