"""Two models over the same media assets: flips, score histograms, the worst examples, latency.

Pure: judgements in, a summary out, in memory that grows with the size of the sample by a few
numbers each. Must not be here: running a model, pictures beyond the bytes handed in, files.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from media_pipeline.processing.moderation import VERDICTS, Verdict, verdict_of

BINS = 20
Side = Literal["current", "candidate"]
SIDES: tuple[Side, ...] = ("current", "candidate")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one model says of one media asset. `levels`: label -> verdict of that label alone.
    `seconds`: of one of its images. `ran_on`: device and dtype."""

    verdict: Verdict
    scores: Mapping[str, float]
    levels: Mapping[str, Verdict]
    seconds: float
    ran_on: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Why one model has no judgement of one media asset."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Both models on one media asset; None for one that was not to blame where the other failed.
    `recorded`: the verdict in the ledger. `picture`: what may be shown of it, blurred beyond
    recovery by whoever made it."""

    asset_id: str
    current: Judgement | Failed | None
    candidate: Judgement | Failed | None
    recorded: str | None = None
    picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """Quantiles of what was measured, by nearest rank; None where nothing was."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    highest: float | None


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """One label. `histogram`: model -> media assets by score, in 20 bins of 0..1, for models
    that have the label. `difference`: |candidate - current|, where both do. `flips`: `from>to`
    -> media assets, where both set thresholds for it."""

    label: str
    histogram: Mapping[str, Sequence[int]]
    difference: Spread
    flips: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Example:
    """A media asset on which the models differ. `difference`: largest of any shared label."""

    asset_id: str
    current: Judgement
    candidate: Judgement
    difference: float
    picture: bytes | None

    @property
    def flipped(self) -> bool:
        return self.current.verdict != self.candidate.verdict


@dataclass(frozen=True, slots=True)
class Summary:
    """`moves`: `from>to` -> media assets, agreement included. `failed`: model -> code -> media
    assets that it alone could not judge; `left_out`: code -> those that neither could.
    `recorded_differs`: the ledger's verdict is not what the current model says now."""

    compared: int
    flips: int
    stricter: int
    laxer: int
    moves: Mapping[str, int]
    labels: tuple[LabelSummary, ...]
    latency: Mapping[str, Spread]
    ran_on: Mapping[str, Mapping[str, int]]
    failed: Mapping[str, Mapping[str, Sequence[str]]]
    left_out: Mapping[str, Sequence[str]]
    recorded_differs: int
    flipped: tuple[Mapping[str, object], ...]
    worst: tuple[Example, ...]

    @property
    def regressions(self) -> int:
        """Flips, and what the candidate alone could not judge: what `--max-flips` bounds."""
        return self.flips + sum(map(len, self.failed["candidate"].values()))


def levels_of(
    scores: Mapping[str, float], thresholds: Mapping[str, Mapping[str, float]]
) -> dict[str, Verdict]:
    """Label -> the verdict that it would give alone."""
    return {
        label: verdict_of({label: scores[label]}, {label: limits})
        for label, limits in thresholds.items()
        if label in scores
    }


@dataclass
class Comparison:
    """Takes pairs one by one. `examples`: how many of the worst are kept with their pictures."""

    examples: int = 24
    _compared: int = 0
    _moves: Counter[str] = field(default_factory=Counter)
    _label_flips: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _histogram: dict[str, dict[str, list[int]]] = field(default_factory=lambda: defaultdict(dict))
    _differences: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _seconds: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})
    _ran_on: dict[str, Counter[str]] = field(
        default_factory=lambda: {side: Counter() for side in SIDES}
    )
    _failed: dict[str, dict[str, list[str]]] = field(
        default_factory=lambda: {side: defaultdict(list) for side in SIDES}
    )
    _left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _recorded_differs: int = 0
    _flipped: list[dict[str, object]] = field(default_factory=list)
    _worst: list[tuple[tuple[float, ...], str, Example]] = field(default_factory=list)

    def add(self, pair: Pair) -> None:
        """Count one media asset; pictures are kept of the worst alone."""
        current, candidate = pair.current, pair.candidate
        if not isinstance(current, Judgement) or not isinstance(candidate, Judgement):
            self._note_failure(pair)
            return
        self._compared += 1
        self._moves[f"{current.verdict}>{candidate.verdict}"] += 1
        self._recorded_differs += pair.recorded not in (None, current.verdict)
        for side, one in zip(SIDES, (current, candidate), strict=True):
            self._seconds[side].append(one.seconds)
            self._ran_on[side][one.ran_on] += 1
            for label, score in one.scores.items():
                bins = self._histogram[label].setdefault(side, [0] * BINS)
                bins[min(BINS - 1, int(score * BINS))] += 1
        for label in current.levels.keys() & candidate.levels.keys():
            if current.levels[label] != candidate.levels[label]:
                self._label_flips[label][f"{current.levels[label]}>{candidate.levels[label]}"] += 1
        self._keep(pair, current, candidate)

    def _note_failure(self, pair: Pair) -> None:
        sides = zip(SIDES, (pair.current, pair.candidate), strict=True)
        failed = [(side, one.code) for side, one in sides if isinstance(one, Failed)]
        if len(failed) == 1:
            side, code = failed[0]
            self._failed[side][code].append(pair.asset_id)
        else:
            self._left_out[failed[0][1]].append(pair.asset_id)

    def _keep(self, pair: Pair, current: Judgement, candidate: Judgement) -> None:
        shared = current.scores.keys() & candidate.scores.keys()
        apart = {label: abs(candidate.scores[label] - current.scores[label]) for label in shared}
        for label, distance in apart.items():
            self._differences[label].append(distance)
        difference = round(max(apart.values(), default=0.0), 6)
        steps = VERDICTS.index(candidate.verdict) - VERDICTS.index(current.verdict)
        if steps:
            self._flipped.append(
                {
                    "asset_id": pair.asset_id,
                    "from": current.verdict,
                    "to": candidate.verdict,
                    "difference": difference,
                }
            )
        if not steps and not difference:
            return
        # Far before near; what the candidate would let through before what it would hold back.
        rank = (abs(steps), float(steps < 0), difference)
        example = Example(pair.asset_id, current, candidate, difference, pair.picture)
        heapq.heappush(self._worst, (rank, pair.asset_id, example))
        if len(self._worst) > self.examples:
            heapq.heappop(self._worst)

    def summary(self) -> Summary:
        """All that was found."""
        directions = {
            direction: sum(
                count for move, count in self._moves.items() if _direction(move) == direction
            )
            for direction in (1, -1)
        }
        return Summary(
            compared=self._compared,
            flips=directions[1] + directions[-1],
            stricter=directions[1],
            laxer=directions[-1],
            moves=dict(sorted(self._moves.items())),
            labels=tuple(self._label(label) for label in sorted(self._histogram)),
            latency={side: spread(values) for side, values in self._seconds.items()},
            ran_on={side: dict(counts) for side, counts in self._ran_on.items()},
            failed={side: dict(codes) for side, codes in self._failed.items()},
            left_out=dict(self._left_out),
            recorded_differs=self._recorded_differs,
            flipped=tuple(sorted(self._flipped, key=lambda one: str(one["asset_id"]))),
            worst=tuple(example for _, _, example in sorted(self._worst, reverse=True)),
        )

    def _label(self, label: str) -> LabelSummary:
        return LabelSummary(
            label,
            {side: tuple(bins) for side, bins in self._histogram[label].items()},
            spread(self._differences.get(label, ())),
            dict(sorted(self._label_flips.get(label, {}).items())),
        )


def spread(values: Sequence[float]) -> Spread:
    """Quantiles by nearest rank: each is a value that was measured."""
    ordered = sorted(values)
    if not ordered:
        return Spread(0, None, None, None, None)

    def at(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 6)

    return Spread(len(ordered), at(0.5), at(0.95), at(0.99), round(ordered[-1], 6))


def _direction(move: str) -> int:
    before, _, after = move.partition(">")
    order: Sequence[str] = VERDICTS
    steps = order.index(after) - order.index(before)
    return (steps > 0) - (steps < 0)
