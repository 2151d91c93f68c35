"""How long media wait under three ways to size a pool: a simulation, no servers.

    python benchmarks/scaling.py [--out .local/scaling]

Media assets arrive as given by a trace (steady, burst, ten-fold spike, GPU outage); slots work
them off. Compared: a fixed size; slots that step with consumer lag in messages; and what
`scaling_sensor` does, `sensors.scaling_plan.plan_slots` itself, on the backlog in seconds of
work. Slots come late, as nodes do, and go when asked. Prints a table; writes `scaling.json`
and `scaling.svg`, backlog, slots and waiting time over the hours of each trace.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from media_pipeline.settings import ScalingSettings
from sensors.scaling_plan import plan_slots

STEP_SECONDS = 10
#: From asking for a slot to its first work: a pod, and often a node.
START_SECONDS = 120
#: Who waits longer than this has noticed.
PROMISE_SECONDS = 900
WORKLOAD = "moderation"
SCALING = ScalingSettings(floor={WORKLOAD: 2}, ceiling={WORKLOAD: 16}, workers_per_run=1)
#: As scalers of consumer groups do: one more for every so many messages.
MESSAGES_PER_SLOT = 500
HOURS = 6

Policy = Callable[[int, float, int], int]  # waiting, seconds per media asset, slots -> slots


@dataclass(frozen=True)
class Trace:
    """Arrivals per second and seconds of work per media asset, both at a second of the trace.

    `usable`: share of the slots that work at that second; 0 is an outage of what they need.
    """

    name: str
    rate: Callable[[float], float]
    seconds_per_asset: Callable[[float], float] = lambda _: 1.0
    usable: Callable[[float], float] = lambda _: 1.0


def within(second: float, first_hour: float, last_hour: float) -> bool:
    """Whether a second of the trace lies between two hours of it."""
    return first_hour * 3600 <= second < last_hour * 3600


TRACES = (
    Trace("steady", lambda _: 1.5),
    Trace("burst", lambda s: 1.0 + (6.0 if s % 3600 < 600 else 0.0)),
    Trace("10x spike", lambda s: 10.0 if within(s, 1, 1.75) else 1.0),
    Trace("GPU outage", lambda _: 1.5, usable=lambda s: 0.0 if within(s, 1, 2) else 1.0),
    # Few messages, each of them long: lag in messages does not see it coming.
    Trace(
        "long media", lambda _: 0.3, seconds_per_asset=lambda s: 20.0 if within(s, 1, 2) else 3.0
    ),
)


def fixed(slots: int) -> Policy:
    """Always as many."""
    return lambda _waiting, _seconds, _slots: slots


def by_lag(waiting: int, _seconds: float, _slots: int) -> int:
    """One slot for every MESSAGES_PER_SLOT messages, within the same floor and ceiling."""
    wanted = math.ceil(waiting / MESSAGES_PER_SLOT)
    return min(max(wanted, SCALING.floor[WORKLOAD]), SCALING.ceiling[WORKLOAD])


def by_backlog_seconds(waiting: int, seconds: float, _slots: int) -> int:
    """The planner of `scaling_sensor`."""
    (target,) = plan_slots({WORKLOAD: waiting}, {WORKLOAD: seconds}, SCALING)
    return target.slots


POLICIES: dict[str, Policy] = {
    "fixed, average load": fixed(4),
    "fixed, ceiling": fixed(SCALING.ceiling[WORKLOAD]),
    "lag threshold": by_lag,
    "backlog seconds": by_backlog_seconds,
}


@dataclass
class Outcome:
    """Series over time, one value per minute, and what became of the media assets."""

    arrived: int = 0
    done: float = 0.0
    slot_hours: float = 0.0
    busy_hours: float = 0.0
    waits: list[tuple[float, float]] = field(default_factory=list)  # seconds, media assets
    backlog: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """Seconds from arrival to done that this share of the finished ones did not exceed."""
        left = share * sum(count for _, count in self.waits)
        for seconds, count in sorted(self.waits):
            left -= count
            if left <= 0:
                return seconds
        return 0.0

    @property
    def late_share(self) -> float:
        """Share of the finished ones that waited longer than promised."""
        total = sum(count for _, count in self.waits) or 1.0
        return sum(count for seconds, count in self.waits if seconds > PROMISE_SECONDS) / total


class Recorded:
    """Seconds per media asset as the ledger tells them: the mean of the last thousand."""

    def __init__(self, seconds: float) -> None:
        self._last = deque([(1000.0, seconds)])
        self._count, self._sum = 1000.0, 1000.0 * seconds

    def add(self, count: float, seconds: float) -> None:
        """So many media assets were done, each of them took so long."""
        self._last.append((count, seconds))
        self._count += count
        self._sum += count * seconds
        while self._count - self._last[0][0] >= 1000:
            count, seconds = self._last.popleft()
            self._count -= count
            self._sum -= count * seconds

    @property
    def mean(self) -> float:
        """Seconds."""
        return self._sum / self._count


def simulate(trace: Trace, policy: Policy, hours: float = HOURS) -> Outcome:
    """First come, first served; work is divisible, so that the step does not matter."""
    outcome, queue = Outcome(), deque[list[float]]()  # [arrived at, media assets, seconds each]
    recorded = Recorded(trace.seconds_per_asset(0))
    slots, coming = policy(0, recorded.mean, 0), deque[tuple[float, int]]()
    carry = 0.0
    for step in range(int(hours * 3600 / STEP_SECONDS)):
        now = step * STEP_SECONDS
        carry += trace.rate(now) * STEP_SECONDS
        if carry >= 1:
            queue.append([now, math.floor(carry), trace.seconds_per_asset(now)])
            outcome.arrived += math.floor(carry)
            carry -= math.floor(carry)
        waiting = math.ceil(sum(one[1] for one in queue))
        if now % SCALING.tick_interval_seconds == 0:
            wanted = policy(waiting, recorded.mean, slots)
            ahead = slots + sum(count for _, count in coming)
            if wanted > ahead:
                coming.append((now + START_SECONDS, wanted - ahead))
            elif wanted < ahead:
                coming.clear()
                slots = min(slots, wanted)
        while coming and coming[0][0] <= now:
            slots += coming.popleft()[1]
        budget = slots * trace.usable(now) * STEP_SECONDS
        finished, work = _work(queue, budget, now, recorded)
        outcome.waits += finished
        outcome.done += sum(count for _, count in finished)
        outcome.slot_hours += slots * STEP_SECONDS / 3600
        outcome.busy_hours += work / 3600
        if now % 60 == 0:
            outcome.backlog.append(waiting)
            outcome.slots.append(slots)
            outcome.latency.append(now - queue[0][0] if queue else 0.0)
    return outcome


def _work(
    queue: deque[list[float]], budget: float, now: float, recorded: Recorded
) -> tuple[list[tuple[float, float]], float]:
    """Spend `budget` seconds on the queue: waits of what was finished, seconds spent."""
    finished, spent = [], 0.0
    while queue and budget > 1e-9:
        arrived, count, each = queue[0]
        part = min(count, budget / each)
        budget -= part * each
        spent += part * each
        finished.append((now + STEP_SECONDS - arrived, part))
        recorded.add(part, each)
        if part >= count - 1e-9:
            queue.popleft()
        else:
            queue[0][1] = count - part
    return finished, spent


def figures(outcome: Outcome) -> dict[str, float]:
    """What the table shows."""
    return {
        "arrived": outcome.arrived,
        "done": round(outcome.done),
        "p50_seconds": outcome.quantile(0.5),
        "p95_seconds": outcome.quantile(0.95),
        "max_seconds": max((seconds for seconds, _ in outcome.waits), default=0.0),
        "late_share": outcome.late_share,
        "largest_backlog": max(outcome.backlog),
        "slot_hours": outcome.slot_hours,
        "idle_share": 1 - outcome.busy_hours / outcome.slot_hours,
    }


def table(found: dict[str, dict[str, Outcome]]) -> str:
    """One line per trace and policy."""
    head = f"{'trace':<12} {'policy':<20} {'p50 s':>7} {'p95 s':>7} {'max s':>7} {'late':>6}"
    lines = [f"{head} {'backlog':>8} {'slot h':>7} {'idle':>5}"]
    for trace, by_policy in found.items():
        for policy, outcome in by_policy.items():
            one = figures(outcome)
            lines.append(
                f"{trace:<12} {policy:<20} {one['p50_seconds']:>7.0f} {one['p95_seconds']:>7.0f}"
                f" {one['max_seconds']:>7.0f} {one['late_share']:>6.1%}"
                f" {one['largest_backlog']:>8.0f} {one['slot_hours']:>7.1f}"
                f" {one['idle_share']:>5.0%}"
            )
    return "\n".join(lines)


COLOURS = ("#888888", "#c0b060", "#c05050", "#3070c0")
WIDTH, HEIGHT, MARGIN = 300, 120, 34


def picture(found: dict[str, dict[str, Outcome]]) -> str:
    """SVG: a row per trace; columns backlog, slots, waiting time of the oldest."""
    columns = ("backlog", "slots", "latency")
    titles = ("media assets waiting", "slots", "oldest waits, seconds")
    parts = []
    for row, (trace, by_policy) in enumerate(found.items()):
        for column, (name, title) in enumerate(zip(columns, titles, strict=True)):
            left, top = MARGIN + column * (WIDTH + 40), 40 + row * (HEIGHT + MARGIN)
            series = [getattr(outcome, name) for outcome in by_policy.values()]
            most = max(1.0, *(max(one) for one in series))
            parts.append(
                f'<text x="{left}" y="{top - 6}">{trace}: {title} (to {most:.0f})</text>'
                f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" class="f"/>'
            )
            parts += [_line(one, most, left, top, COLOURS[n]) for n, one in enumerate(series)]
    names = list(next(iter(found.values())))
    parts += [
        f'<text x="{MARGIN + n * 180}" y="16" fill="{COLOURS[n]}">{name}</text>'
        for n, name in enumerate(names)
    ]
    width, height = MARGIN + 3 * (WIDTH + 40), 40 + len(found) * (HEIGHT + MARGIN)
    style = "text{font:12px sans-serif}.f{fill:none;stroke:#ccc}polyline{fill:none}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
        f"<style>{style}</style>{''.join(parts)}</svg>"
    )


def _line(values: list[float], most: float, left: float, top: float, colour: str) -> str:
    step = WIDTH / max(1, len(values) - 1)
    points = " ".join(
        f"{left + n * step:.1f},{top + HEIGHT - HEIGHT * value / most:.1f}"
        for n, value in enumerate(values)
    )
    return f'<polyline points="{points}" stroke="{colour}"/>'


def main() -> None:
    """Simulate everything, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(".local/scaling"))
    out = parser.parse_args().out
    found = {
        trace.name: {name: simulate(trace, policy) for name, policy in POLICIES.items()}
        for trace in TRACES
    }
    print(table(found))
    out.mkdir(parents=True, exist_ok=True)
    document = {
        trace: {
            name: {**figures(one), "backlog": one.backlog, "slots": one.slots,
                   "oldest_waits_seconds": one.latency}
            for name, one in by_policy.items()
        }
        for trace, by_policy in found.items()
    }  # fmt: skip
    (out / "scaling.json").write_text(json.dumps(document))
    (out / "scaling.svg").write_text(picture(found))
    print(f"series: {out / 'scaling.json'}; picture: {out / 'scaling.svg'}")


if __name__ == "__main__":
    main()
