"""What a replay would do, counted, and how long it will take. Pure but for the steps it reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.errors import PermanentError
from media_pipeline.replays.steps import Step

#: Word of a step's count -> what people read.
WORDS = {
    "missing": "not in the ledger: will be registered and run",
    "unfinished": "unfinished and nobody is at it: will run",
    "complete": "complete",
    "partial": "partial",
    "dead_lettered": "dead letters already",
    "superseded": "replaced by a later version that the ledger has",
    "under_way": "under way: left to whoever is at it",
    "repeated": "announced again on the same page",
    "invalid": "refused by the contract: dead letters",
    "outside": "in between, not meant",
}


@dataclass
class Plan:
    """`run`: versions that will run, at most (a message repeated far away counts twice)."""

    run: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    samples: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    first_invalid: MessageRecord | None = None

    @property
    def messages(self) -> int:
        """Everything that was looked at, but for what was outside of the times."""
        return sum(self.counts.values()) - self.counts["outside"]


def make_plan(steps: Iterable[Step]) -> Plan:
    """Count all steps; keeps ten names, not the steps."""
    plan = Plan()
    for step in steps:
        plan.run += len(step.versions)
        plan.counts.update(step.counts)
        plan.samples += [asset_id for asset_id, _ in step.versions[: 10 - len(plan.samples)]]
        plan.reasons.update(one.code for one in step.rejected)
        if step.rejected and plan.first_invalid is None:
            plan.first_invalid = step.rejected[0].record
    return plan


def require_sane(plan: Plan, max_ratio: float, min_messages: int) -> None:
    """As the sensor does: a bad producer or contract must not bury all that it sent."""
    invalid, total = plan.counts["invalid"], plan.messages
    if total < min_messages or invalid <= max_ratio * total or plan.first_invalid is None:
        return
    raise PermanentError(
        f"{invalid} of {total} messages are refused by the contract (limit {max_ratio:.0%}), from"
        f" {plan.first_invalid.coordinates} on: {dict(plan.reasons.most_common(3))}. Nothing was"
        " done.",
        remedy="mend the producer or the contract, or choose a smaller range; to dead-letter them"
        " all, raise MEDIA_PIPELINE_BATCH__MAX_INVALID_RATIO.",
        code="invalid_ratio",
    )


def cpu_seconds(run: int, mean_seconds: Mapping[str, float], kinds: Iterable[str]) -> float | None:
    """Seconds of work, from what each kind took lately; None where nothing was recorded."""
    known = [mean_seconds[kind] for kind in kinds if kind in mean_seconds]
    return run * sum(known) if known else None


def duration(seconds: float) -> str:
    """`50 s`, `12 min`, `3.5 h`: as exact as an estimate deserves."""
    minute, hour = 60, 3600
    if seconds < 2 * minute:
        return f"{seconds:.0f} s"
    if seconds < 2 * hour:
        return f"{seconds / minute:.0f} min"
    return f"{seconds / hour:.1f} h"
