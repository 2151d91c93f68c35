"""Two stages over one batch: grouped across files, and each file ends alone."""

from collections.abc import Iterable, Iterator

import pytest

from media_pipeline.assets.staged_workload import Part, StageSpec, process_staged_batch
from media_pipeline.domain.outcome import Artifact, Code, ProcessorResult
from media_pipeline.errors import SystemicError
from media_pipeline.workers.pool import Task, TaskDone
from tests.unit.assets.test_workload import claim, fetch

SPEC = StageSpec("ocr", "ocr-1-x", "page_images", {"dpi": 7}, 5.0, 50.0, "execute", 3)


class Work:
    """Files named `<name>-<parts>`; every part is its own text, read in capitals."""

    spec = SPEC

    def __init__(self, remembered=()):
        self.remembered = set(remembered)
        self.systemic = False

    def plan(self, asset):
        if asset.asset_id.startswith("skip"):
            return ProcessorResult(Code.NOT_APPLICABLE, "nothing to do")
        return {"pages": [1]}

    def parts(self, asset, prepared):
        return [
            Part(asset.asset_id, index, artifact.data, asset.asset_id[0])
            for index, artifact in enumerate(prepared.artifacts)
        ]

    def known(self, part):
        return "REMEMBERED" if part.asset_id in self.remembered else None

    def request(self, parts):
        return b"|".join(part.data for part in parts), {"count": len(parts)}

    def answers(self, parts, result):
        return result.artifacts[0].data.decode().split("|")

    def refuse(self, parts, result):
        if self.systemic:
            raise SystemicError("no device", remedy="add one", code="device_missing")

    def merge(self, asset, prepared, answers):
        return ProcessorResult(Code.OK, " ".join(answers), attributes=dict(prepared.attributes))


class Pool:
    """Runs tasks as the real pool does: a few at a time, asking again after None."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def run(self, tasks: Iterable[Task | None]) -> Iterator[TaskDone]:
        source, busy = iter(tasks), []
        while True:
            while len(busy) < 2 and (task := next(source, None)) is not None:
                self.tasks.append(task)
                busy.append(task)
            if not busy:
                return
            yield self._done(busy.pop(0))

    @staticmethod
    def _done(task: Task) -> TaskDone:
        if task.kind == "ocr":
            if b"poison" in task.content:
                return TaskDone(task.task_id, ProcessorResult(Code.CRASH, "died"))
            read = Artifact("read", "x", task.content.upper())
            return TaskDone(task.task_id, ProcessorResult(Code.OK, artifacts=(read,), seconds=3.0))
        name, _, count = task.content.name.rpartition("-")
        if name.startswith("broken"):
            return TaskDone(task.task_id, ProcessorResult(Code.INVALID, "no pages"))
        made = tuple(
            Artifact(str(number), "x", f"{name}{number}".encode()) for number in range(int(count))
        )
        return TaskDone(
            task.task_id, ProcessorResult(Code.OK, artifacts=made, attributes={"n": int(count)})
        )


def run(names, work=None, pool=None):
    outcomes = process_staged_batch(
        work or Work(), [claim(name) for name in names],
        fetch=fetch, pool=pool or Pool(), fetch_threads=2,
    )  # fmt: skip
    found = [(outcome.asset_id, outcome) for outcome in outcomes]
    assert len(found) == outcomes.expected == len(names), "one outcome per claim"
    return dict(found)


def test_every_claim_ends_once_with_its_own_parts_in_order():
    found = run(["a-1", "b-4", "a2-7", "skip-1", "missing-1", "broken-2", "slow-1"])
    assert {name: (one.result.code, one.result.message) for name, one in found.items()} == {
        "a-1": (Code.OK, "A0"),
        "b-4": (Code.OK, "B0 B1 B2 B3"),
        "a2-7": (Code.OK, "A20 A21 A22 A23 A24 A25 A26"),
        "skip-1": (Code.NOT_APPLICABLE, "nothing to do"),
        "missing-1": (Code.OBJECT_MISSING, found["missing-1"].result.message),
        "broken-2": (Code.INVALID, "no pages"),
        "slow-1": (Code.TRANSIENT, found["slow-1"].result.message),
    }
    assert found["b-4"].fingerprint == "ocr-1-x"
    assert found["b-4"].input_digest == "digest-b-4"


def test_parts_of_several_files_are_read_together_and_only_with_their_like():
    pool = Pool()
    run(["a-1", "b-1", "a2-1", "a3-1", "b2-1"], pool=pool)
    groups = sorted(task.content for task in pool.tasks if task.kind == "ocr")
    assert groups == [b"a0|a20|a30", b"b0|b20"]


def test_a_poisoned_group_is_read_one_by_one():
    found = run(["a-1", "a-poison-1", "a2-1"])
    assert found["a-1"].result.message == "A0"
    assert found["a2-1"].result.message == "A20"
    assert found["a-poison-1"].result.code is Code.CRASH


def test_what_was_read_before_is_not_read_again():
    pool = Pool()
    found = run(["a-2", "a2-1"], Work(remembered=["a-2"]), pool)
    assert found["a-2"].result.message == "REMEMBERED REMEMBERED"
    assert [task.content for task in pool.tasks if task.kind == "ocr"] == [b"a20"]


def test_parameters_and_deadlines_of_both_stages():
    pool = Pool()
    run(["a-1"], pool=pool)
    first, second = pool.tasks
    assert (first.kind, first.params, first.deadline_seconds, first.lane) == (
        "page_images", {"dpi": 7, "pages": [1]}, 5.0, "decode",
    )  # fmt: skip
    assert (second.params, second.deadline_seconds, second.lane) == ({"count": 1}, 50.0, "execute")


def test_seconds_are_shared_by_those_that_were_read_together():
    found = run(["a-1", "a2-2"])
    assert found["a-1"].result.seconds == pytest.approx(1.0)
    assert found["a2-2"].result.seconds == pytest.approx(2.0)


def test_a_failure_that_no_other_reading_will_escape_leaves_the_stream():
    work = Work()
    work.systemic = True
    with pytest.raises(SystemicError, match="device_missing"):
        run(["a-poison-1"], work)


def test_only_skipped_claims_need_no_pool():
    assert run(["skip-1", "skip-2"])["skip-2"].result.code is Code.NOT_APPLICABLE
