"""A workload of two stages over one batch: pictures of each file, then pictures of many files.

The first stage decodes untrusted files one by one. The second takes what came of them in
groups across files, because starting OCR or a forward pass costs as much as an easy picture.
Both run in the same pool, so neither waits for the other, and groups never wait for a file
that is slow while there is other work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from media_pipeline.assets.workload import Fetch, Pool, fetch_ahead, outcome_of
from media_pipeline.domain.media_asset import MediaAsset
from media_pipeline.domain.outcome import Outcome, Outcomes, ProcessorResult
from media_pipeline.domain.ports import Claim, FetchedObject
from media_pipeline.workers.lanes import LaneName
from media_pipeline.workers.pool import Task, TaskDone


@dataclass(frozen=True, slots=True)
class Part:
    """One picture of a media asset: page or frame. `group`: only equal ones are read together."""

    asset_id: str
    index: int
    data: bytes
    group: Hashable = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageSpec:
    """What both stages are called and may take."""

    kind: str
    fingerprint: str
    prepare_kind: str
    prepare_params: Mapping[str, object]
    prepare_deadline_seconds: float
    read_deadline_seconds: float
    lane: LaneName
    group_size: int


class StagedWork(Protocol):
    """What differs between OCR and moderation."""

    @property
    def spec(self) -> StageSpec: ...

    def plan(self, asset: MediaAsset) -> ProcessorResult | Mapping[str, object]:
        """How it ends without looking at the file, or further parameters of the first stage."""
        ...

    def parts(self, asset: MediaAsset, prepared: ProcessorResult) -> Sequence[Part]:
        """The pictures that the first stage made."""
        ...

    def known(self, part: Part) -> Any | None:
        """What an earlier reading of the same picture gave, if that is known."""
        ...

    def request(self, parts: Sequence[Part]) -> tuple[bytes, Mapping[str, object]]:
        """Content and parameters of the second stage for one group."""
        ...

    def answers(self, parts: Sequence[Part], result: ProcessorResult) -> Sequence[Any]:
        """One answer per part of a reading that ended well; may raise SystemicError."""
        ...

    def refuse(self, parts: Sequence[Part], result: ProcessorResult) -> None:
        """Look at a reading that failed; may raise SystemicError when no other will succeed."""
        ...

    def merge(
        self, asset: MediaAsset, prepared: ProcessorResult, answers: Sequence[Any]
    ) -> ProcessorResult:
        """The outcome of a media asset, from the answers to all of its parts in order."""
        ...


@dataclass(slots=True)
class _Open:
    """A media asset whose pictures are being read."""

    claim: Claim
    fetched: FetchedObject
    prepared: ProcessorResult
    parts: Sequence[Part]
    answers: dict[int, Any]
    seconds: float
    failed: ProcessorResult | None = None


def process_staged_batch(
    work: StagedWork, claims: Sequence[Claim], *, fetch: Fetch, pool: Pool, fetch_threads: int
) -> Outcomes:
    """Outcomes of all claims, in the order in which they finish; see `process_batch`."""
    engine = _Engine(work, claims, fetch, fetch_threads)
    return Outcomes(engine.outcomes(pool), expected=len(claims))


class _Engine:
    def __init__(
        self, work: StagedWork, claims: Sequence[Claim], fetch: Fetch, fetch_threads: int
    ) -> None:
        self._work = work
        self._spec = work.spec
        self._decided: deque[Outcome] = deque()
        self._plans: dict[str, Mapping[str, object]] = {}
        self._source = fetch_ahead(self._planned(claims), fetch, fetch_threads)
        self._preparing: dict[str, tuple[Claim, FetchedObject]] = {}
        self._open: dict[str, _Open] = {}
        self._collecting: dict[Hashable, list[Part]] = {}
        self._groups: deque[list[Part]] = deque()
        self._reading: dict[str, list[Part]] = {}
        self._numbered = 0

    def outcomes(self, pool: Pool) -> Iterator[Outcome]:
        for done in pool.run(self._tasks()):
            if done.task_id in self._reading:
                self._read(done)
            else:
                self._prepared(done)
            while self._decided:
                yield self._decided.popleft()
        while self._decided:
            yield self._decided.popleft()

    def _planned(self, claims: Sequence[Claim]) -> Iterator[Claim]:
        """Claims whose file is needed; the others are decided here."""
        for claim in claims:
            planned = self._work.plan(claim.asset)
            if isinstance(planned, ProcessorResult):
                self._decided.append(outcome_of(self._spec, claim, None, planned))
            else:
                self._plans[claim.asset.asset_id] = planned
                yield claim

    def _tasks(self) -> Iterator[Task | None]:
        """Groups first: they hold pictures in memory. Then files. Then what is left over."""
        exhausted = False
        while True:
            if self._groups:
                yield self._read_task(self._groups.popleft())
                continue
            task = None if exhausted else self._next_prepare_task()
            if task is not None:
                yield task
                continue
            exhausted = True
            if not self._preparing and self._collecting:
                self._groups.extend(self._collecting.values())
                self._collecting.clear()
            elif self._preparing or self._reading:
                yield None
            else:
                return

    def _next_prepare_task(self) -> Task | None:
        for claim, fetched in self._source:
            if isinstance(fetched, ProcessorResult):
                self._decided.append(outcome_of(self._spec, claim, None, fetched))
                continue
            asset = claim.asset
            self._preparing[asset.asset_id] = (claim, fetched)
            return Task(
                task_id=asset.asset_id,
                kind=self._spec.prepare_kind,
                content=fetched.path,
                declared_type=asset.source.content_type or fetched.content_type,
                params={**self._spec.prepare_params, **self._plans.pop(asset.asset_id)},
                deadline_seconds=self._spec.prepare_deadline_seconds,
            )
        return None

    def _prepared(self, done: TaskDone) -> None:
        claim, fetched = self._preparing.pop(done.task_id)
        if not done.result.artifacts:
            self._decided.append(outcome_of(self._spec, claim, fetched, done.result))
            return
        parts = self._work.parts(claim.asset, done.result)
        # The pictures live on in the parts alone.
        prepared = ProcessorResult(done.result.code, attributes=done.result.attributes)
        one = _Open(claim, fetched, prepared, parts, {}, done.result.seconds)
        self._open[done.task_id] = one
        for part in parts:
            known = self._work.known(part)
            if known is not None:
                one.answers[part.index] = known
                continue
            waiting = self._collecting.setdefault(part.group, [])
            waiting.append(part)
            if len(waiting) >= self._spec.group_size:
                self._groups.append(self._collecting.pop(part.group))
        self._close(one)

    def _read_task(self, parts: list[Part]) -> Task:
        self._numbered += 1
        # A media asset id holds no '#', so no file's task can be called so.
        task_id = f"#{self._numbered}"
        self._reading[task_id] = parts
        content, params = self._work.request(parts)
        return Task(
            task_id=task_id,
            kind=self._spec.kind,
            content=content,
            declared_type=None,
            params=params,
            deadline_seconds=self._spec.read_deadline_seconds,
            lane=self._spec.lane,
        )

    def _read(self, done: TaskDone) -> None:
        parts = self._reading.pop(done.task_id)
        result = done.result
        if not result.artifacts and not result.code.handled and len(parts) > 1:
            # One of them is to blame: each on its own, so that the others do not suffer.
            self._groups.extend([part] for part in parts)
            return
        if not result.artifacts:
            self._work.refuse(parts, result)
        answers = self._work.answers(parts, result) if result.artifacts else None
        for number, part in enumerate(parts):
            one = self._open[part.asset_id]
            one.seconds += result.seconds / len(parts)
            if answers is None:
                one.failed = one.failed or result
                one.answers[part.index] = None
            else:
                one.answers[part.index] = answers[number]
        for asset_id in {part.asset_id for part in parts}:
            self._close(self._open[asset_id])

    def _close(self, one: _Open) -> None:
        """Decide a media asset once everything about it is known."""
        if len(one.answers) < len(one.parts):
            return
        asset = one.claim.asset
        del self._open[asset.asset_id]
        if one.failed is not None:
            result = one.failed
        else:
            ordered = [one.answers[part.index] for part in one.parts]
            result = self._work.merge(asset, one.prepared, ordered)
        ended = ProcessorResult(
            result.code, result.message, result.artifacts, result.attributes, result.preview,
            one.seconds,
        )  # fmt: skip
        self._decided.append(outcome_of(self._spec, one.claim, one.fetched, ended))
