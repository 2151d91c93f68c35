"""What stands before the processing of a batch: paused workloads, and runs that died.

A batch whose earlier run died is processed file by file, each noted in the ledger while it is
in the cage. So the file that kills runs is found while its neighbours are finished, and after
`max_attempts` such runs it ends as `crash` without being decoded again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from media_pipeline.assets.workload import Named, outcome_of
from media_pipeline.domain.outcome import Code, Outcome, Outcomes, ProcessorResult
from media_pipeline.domain.ports import Claim
from media_pipeline.domain.recovery import Flag, Loss, RecoveryStore
from media_pipeline.run_retries import systemic_errors_stop_retries

#: What a derivative is told to be made by while its workload is paused: nobody's fingerprint,
#: so that `media-pipeline stale` finds it.
DEFERRED = "deferred"

Process = Callable[[Sequence[Claim]], Outcomes]


@dataclass(frozen=True, slots=True)
class _Deferred:
    kind: str
    fingerprint: str = DEFERRED


def pause_of(context: dg.AssetExecutionContext, recovery: RecoveryStore, kind: str) -> Flag | None:
    """The flag that pauses this workload, if it is set."""
    with systemic_errors_stop_retries(context.instance, context.run.run_id):
        return recovery.controls().pause(f"workload:{kind}")


def deferred(kind: str, claims: Sequence[Claim], pause: Flag) -> Outcomes:
    """All of them are left for the time after the pause."""
    why = f"{kind} is paused by {pause.who}: {pause.reason}"
    result = ProcessorResult(Code.DEFERRED, why)
    rows = [outcome_of(_Deferred(kind), claim, None, result) for claim in claims]
    return Outcomes(rows, expected=len(rows))


def guarded(
    named: Named,
    run_id: str,
    claims: Sequence[Claim],
    recovery: RecoveryStore,
    max_attempts: int,
    process: Process,
) -> Outcomes:
    """`process(claims)`; file by file, and without the culprits, where runs before died.

    `max_attempts`: runs in a row that may die over one file, all but the first of them with
    that very file in the cage.
    """
    tried = [claim.asset.asset_id for claim in claims if claim.attempts > 1]
    lost = recovery.losses(run_id, tried) if tried else []
    if not lost:
        return process(claims)
    by_id = {loss.asset_id: loss for loss in lost}
    stream = _one_by_one(named, claims, by_id, recovery, max_attempts, process)
    return Outcomes(stream, expected=len(claims))


def _one_by_one(
    named: Named,
    claims: Sequence[Claim],
    lost: Mapping[str, Loss],
    recovery: RecoveryStore,
    max_attempts: int,
    process: Process,
) -> Iterator[Outcome]:
    for claim in claims:
        asset_id, version = claim.asset.asset_id, claim.asset.content_version
        loss = lost.get(asset_id)
        if loss is not None and is_culprit(loss, named.kind, max_attempts):
            why = (
                f"{loss.lost_attempts} runs in a row died,"
                f" {loss.marks[named.kind]} of them with this file in the cage for {named.kind}"
            )
            yield outcome_of(named, claim, None, ProcessorResult(Code.CRASH, why))
            continue
        recovery.enter_cage(asset_id, version, named.kind, claim.fence)
        try:
            yield from process([claim])
        finally:
            # Also when something else fails: only a run that dies leaves the mark behind.
            recovery.leave_cage(asset_id, version, named.kind, claim.fence)


def is_culprit(loss: Loss, kind: str, max_attempts: int) -> bool:
    """Whether runs die of this file: `max_attempts` did, and all but the first, which was not
    looked at file by file, with this one in the cage."""
    marks = loss.marks.get(kind, 0)
    return loss.lost_attempts >= max_attempts and marks >= max(1, max_attempts - 1)
