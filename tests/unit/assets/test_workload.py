"""One workload over one batch: every claim ends in its own named outcome."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from media_pipeline.assets.workload import Workload, process_batch
from media_pipeline.domain.media_asset import MediaAsset, SourceObject
from media_pipeline.domain.outcome import Code, ProcessorResult
from media_pipeline.domain.ports import Claim, FetchedObject
from media_pipeline.errors import PermanentError, SystemicError, TransientError
from media_pipeline.workers.pool import Task, TaskDone

WORKLOAD = Workload("text", "text-1-x", {"max_pages": 3}, 5.0)


def claim(name: str, content_type: str | None = None) -> Claim:
    source = SourceObject("media", f"in/{name}", content_type=content_type)
    asset = MediaAsset(name, f"event:{name}", source, f"event-{name}", "2026-01-01T00:00:00Z")
    return Claim(asset, fence=7, attempts=1, previous_status="registered")


class EchoPool:
    """Answers each task with its own path, newest first within a window of three."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def run(self, tasks: Iterable[Task]) -> Iterator[TaskDone]:
        window: list[Task] = []
        for task in tasks:
            self.tasks.append(task)
            window.append(task)
            if len(window) == 3:
                yield self._done(window.pop())
        while window:
            yield self._done(window.pop())

    @staticmethod
    def _done(task: Task) -> TaskDone:
        return TaskDone(task.task_id, ProcessorResult(Code.OK, str(task.content)))


def fetch(asset: MediaAsset) -> FetchedObject:
    name = asset.asset_id
    if name.startswith("missing"):
        raise PermanentError("gone", remedy="upload again", code="object_missing")
    if name.startswith("changed"):
        raise PermanentError("other etag", remedy="send again", code="object_changed")
    if name.startswith("slow"):
        raise TransientError("timed out", remedy="wait")
    if name.startswith("refused"):
        raise SystemicError("no", remedy="credentials", code="credentials_refused")
    return FetchedObject(Path("/scratch") / name, f"digest-{name}", len(name), "etag", "image/png")


def run(names: list[str], pool: EchoPool | None = None):
    claims = [claim(name) for name in names]
    outcomes = process_batch(
        WORKLOAD, claims, fetch=fetch, pool=pool or EchoPool(), fetch_threads=2
    )
    assert outcomes.expected == len(names)
    return {outcome.asset_id: outcome for outcome in outcomes}


def test_every_claim_gets_exactly_one_outcome_whatever_happens_to_it():
    names = [f"good-{i}" for i in range(20)]
    names[3:3] = ["missing-1", "changed-1"]
    names += ["slow-1", "missing-2"]

    outcomes = run(names)

    assert sorted(outcomes) == sorted(names)
    assert outcomes["missing-1"].result.code is Code.OBJECT_MISSING
    assert outcomes["changed-1"].result.code is Code.OBJECT_CHANGED
    assert outcomes["slow-1"].result.code is Code.TRANSIENT
    assert "upload again" in outcomes["missing-2"].result.message
    assert {outcomes[n].result.code for n in names if n.startswith("good")} == {Code.OK}


def test_an_outcome_belongs_to_its_own_claim_and_file():
    outcome = run(["a", "b", "c", "d", "e"])["b"]
    assert outcome.result.message == "/scratch/b"
    assert (outcome.input_digest, outcome.input_bytes, outcome.fence) == ("digest-b", 1, 7)
    assert outcome.content_version == "event:b"


def test_nothing_fetched_has_no_digest():
    outcome = run(["missing"])["missing"]
    assert (outcome.input_digest, outcome.input_bytes) == (None, 0)


def test_a_systemic_error_ends_the_stream():
    with pytest.raises(SystemicError):
        run(["a", "refused", "b"])


def test_declared_type_comes_from_the_event_then_from_the_store():
    pool = EchoPool()
    claims = [claim("a", "application/pdf"), claim("b")]
    list(process_batch(WORKLOAD, claims, fetch=fetch, pool=pool, fetch_threads=1))
    assert [task.declared_type for task in pool.tasks] == ["application/pdf", "image/png"]


def test_fetching_stays_a_bounded_number_of_objects_ahead():
    fetched: list[str] = []

    def counting(asset: MediaAsset) -> FetchedObject:
        fetched.append(asset.asset_id)
        return fetch(asset)

    claims = [claim(f"a-{i}") for i in range(100)]
    stream = iter(process_batch(WORKLOAD, claims, fetch=counting, pool=EchoPool(), fetch_threads=2))
    next(stream)
    assert len(fetched) <= 3 + 2 * 2 + 1
