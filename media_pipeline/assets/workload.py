"""One workload over one batch: claim, fetch ahead, process in the cage, stream outcomes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from media_pipeline.dead_letters.policy import code_of
from media_pipeline.domain.media_asset import MediaAsset
from media_pipeline.domain.outcome import Outcome, Outcomes, ProcessorResult
from media_pipeline.domain.ports import Claim, FetchedObject
from media_pipeline.errors import PermanentError, TransientError
from media_pipeline.workers.pool import Task, TaskDone

Fetch = Callable[[MediaAsset], FetchedObject]


class Pool(Protocol):
    """The part of the worker pool that a workload needs."""

    def run(self, tasks: Iterable[Task | None]) -> Iterator[TaskDone]: ...


class Named(Protocol):
    """What an outcome is told by: a workload's kind and fingerprint."""

    @property
    def kind(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Workload:
    """What distinguishes one workload from another."""

    kind: str
    fingerprint: str
    params: Mapping[str, object]
    deadline_seconds: float


def process_batch(
    workload: Workload,
    claims: Sequence[Claim],
    *,
    fetch: Fetch,
    pool: Pool,
    fetch_threads: int,
) -> Outcomes:
    """Outcomes of all claims, in the order in which they finish.

    One bad media asset never harms its neighbours: whatever happens to it becomes its own
    named outcome. Only SystemicError leaves the stream, because then nothing would succeed.
    """
    return Outcomes(_stream(workload, claims, fetch, pool, fetch_threads), expected=len(claims))


def _stream(
    workload: Workload,
    claims: Sequence[Claim],
    fetch: Fetch,
    pool: Pool,
    fetch_threads: int,
) -> Iterator[Outcome]:
    by_id = {claim.asset.asset_id: claim for claim in claims}
    fetched_by_id: dict[str, FetchedObject] = {}
    unfetched: deque[Outcome] = deque()

    def tasks() -> Iterator[Task]:
        for claim, fetched in fetch_ahead(claims, fetch, fetch_threads):
            if isinstance(fetched, ProcessorResult):
                unfetched.append(outcome_of(workload, claim, None, fetched))
                continue
            asset = claim.asset
            fetched_by_id[asset.asset_id] = fetched
            yield Task(
                task_id=asset.asset_id,
                kind=workload.kind,
                content=fetched.path,
                declared_type=asset.source.content_type or fetched.content_type,
                params=workload.params,
                deadline_seconds=workload.deadline_seconds,
            )

    for done in pool.run(tasks()):
        while unfetched:
            yield unfetched.popleft()
        claim = by_id[done.task_id]
        yield outcome_of(workload, claim, fetched_by_id.pop(done.task_id), done.result)
    while unfetched:
        yield unfetched.popleft()


def fetch_ahead(
    claims: Iterable[Claim], fetch: Fetch, threads: int
) -> Iterator[tuple[Claim, FetchedObject | ProcessorResult]]:
    """Fetch in claim order with bounded look-ahead, so that workers never wait for one object."""

    def attempt(claim: Claim) -> FetchedObject | ProcessorResult:
        try:
            return fetch(claim.asset)
        except (PermanentError, TransientError) as error:
            return ProcessorResult(code_of(error), str(error))

    window: deque[tuple[Claim, Future[FetchedObject | ProcessorResult]]] = deque()
    with ThreadPoolExecutor(threads, "fetch") as executor:
        for claim in claims:
            window.append((claim, executor.submit(attempt, claim)))
            if len(window) > 2 * threads:
                first, future = window.popleft()
                yield first, future.result()
        while window:
            first, future = window.popleft()
            yield first, future.result()


def outcome_of(
    workload: Named, claim: Claim, fetched: FetchedObject | None, result: ProcessorResult
) -> Outcome:
    """A result with everything that says whose it is."""
    return Outcome(
        asset_id=claim.asset.asset_id,
        content_version=claim.asset.content_version,
        fence=claim.fence,
        kind=workload.kind,
        fingerprint=workload.fingerprint,
        input_digest=fetched.digest if fetched else None,
        input_bytes=fetched.size_bytes if fetched else 0,
        result=result,
    )
