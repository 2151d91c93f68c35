"""The cage: whatever a file does, it ends in its own named outcome and nobody else notices."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from media_pipeline.domain.outcome import Code
from media_pipeline.workers.limits import WorkerLimits
from media_pipeline.workers.pool import Task, WorkerPool, available_cpus

FAKE = "tests.fakes.processors"


@pytest.fixture
def pool():
    with WorkerPool(2, WorkerLimits(memory_bytes=1024**3), processors=FAKE) as pool:
        yield pool


@pytest.fixture
def task(tmp_path):
    def make(name: str, kind: str = "echo", text: str | None = None, *, deadline=20.0, **params):
        path = tmp_path / name
        path.write_text(name if text is None else text)
        return Task(name, kind, path, "text/plain", params, deadline)

    return make


def outcomes(pool: WorkerPool, tasks: list[Task]) -> dict:
    done = {}
    for one in pool.run(tasks):
        assert one.task_id not in done, "an outcome came twice"
        done[one.task_id] = one.result
    return done


def test_every_task_gets_its_own_result(pool, task):
    tasks = [task(f"f-{i}", bytes=i * 1000) for i in range(50)]
    done = outcomes(pool, tasks)
    assert {name: result.message for name, result in done.items()} == {
        f"f-{i}": f"f-{i}" for i in range(50)
    }
    assert [len(done[f"f-{i}"].artifacts[0].data) for i in (0, 49)] == [0, 49000]
    assert done["f-7"].preview == b"p"
    assert done["f-7"].attributes == {"declared": "text/plain"}
    assert pool.stats["workers_started"] == 2


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("hang", Code.TIMEOUT),
        ("spin", Code.TIMEOUT),
        ("child", Code.TIMEOUT),
        ("segfault", Code.CRASH),
        ("exit", Code.CRASH),
        ("garbage", Code.CRASH),
        ("raise", Code.CRASH),
        ("memory", Code.MEMORY),
    ],
)
def test_a_bad_file_ends_alone(pool, task, kind, code):
    deadline = 0.5 if code is Code.TIMEOUT else 20.0
    tasks = [task(f"good-{i}") for i in range(6)]
    tasks.insert(3, task("bad", kind, deadline=deadline))
    done = outcomes(pool, tasks)
    assert done.pop("bad").code is code
    assert {result.code for result in done.values()} == {Code.OK}
    assert len(done) == 6


def test_a_crash_is_tried_again_on_a_fresh_worker(task):
    with WorkerPool(1, processors=FAKE) as pool:
        done = outcomes(pool, [task("good"), task("worn", "crash-when-used")])
        assert done["worn"].code is Code.OK
        assert pool.stats["worker_deaths"] == 1


def test_an_exception_that_nobody_foresaw_is_named_and_not_tried_again(pool, task):
    result = outcomes(pool, [task("bug", "raise")])["bug"]
    assert result.code is Code.CRASH
    assert "RuntimeError: a bug in a processor (processors.py:" in result.message
    assert (pool.stats["workers_started"], pool.stats["worker_deaths"]) == (1, 0)


def test_what_decoders_print_reaches_no_log(pool, task, capfd):
    assert outcomes(pool, [task("loud", "shout")])["loud"].code is Code.OK
    pool.close()
    assert "shouted" not in "".join(capfd.readouterr())


def test_a_slow_file_delays_nobody(pool, task):
    tasks = [task("slow", "slow", "30", deadline=1.5), *[task(f"f-{i}") for i in range(20)]]
    order = [one.task_id for one in pool.run(tasks)]
    assert order[-1] == "slow"


def test_tasks_are_pulled_only_when_a_worker_is_free(pool, task):
    pulled = []

    def lazily():
        for i in range(100):
            pulled.append(i)
            yield task(f"f-{i}")

    stream = pool.run(lazily())
    next(stream)
    assert len(pulled) <= 3
    stream.close()
    # The pool is of use again after a run that was left midway.
    assert outcomes(pool, [task("after")])["after"].code is Code.OK


def test_workers_are_recycled(task):
    limits = WorkerLimits(recycle_tasks=5)
    with WorkerPool(1, limits, processors=FAKE) as pool:
        outcomes(pool, [task(f"f-{i}") for i in range(12)])
        assert pool.stats["workers_started"] == 3


def test_a_worker_sees_neither_secrets_nor_the_run(pool, task, monkeypatch):
    monkeypatch.setenv("MEDIA_PIPELINE_LEDGER__TOKEN", "secret")
    seen = outcomes(pool, [task("look", "look")])["look"].attributes
    assert seen["environment"] == ["OMP_THREAD_LIMIT", "TMPDIR"]
    assert "/media-workers-" in seen["cwd"]
    assert seen["no_new_privs"] == 1
    assert seen["threads"] == 1
    assert seen["dagster"] is False


def test_a_worker_reaches_nothing_outside_its_scratch(pool, task):
    tried = outcomes(pool, [task("reach", "reach", str(os.getpid()))])["reach"].attributes
    assert tried.pop("its own scratch") == "1"
    assert set(tried.values()) == {"PermissionError"}, (tried, pool.cage)
    assert pool.cage["files"].startswith("landlock")
    assert pool.cage["network"] == "seccomp"


def test_only_processors_that_need_a_program_may_start_one(pool, task):
    plain, lane = task("plain", "execute"), task("lane", "execute")
    done = outcomes(pool, [plain, replace(lane, lane="execute")])
    assert done["plain"].message == "PermissionError"
    assert done["lane"].message == "ran"


def test_each_lane_keeps_its_workers_during_a_run_and_no_longer(task):
    with WorkerPool(1, processors=FAKE) as pool:
        lanes = ("decode", "execute", "decode", "execute")
        tasks = [replace(task(f"f-{i}", "look"), lane=lane) for i, lane in enumerate(lanes)]
        done = outcomes(pool, tasks)
        assert {result.code for result in done.values()} == {Code.OK}
        assert len({result.attributes["pid"] for result in done.values()}) == 2
        again = outcomes(pool, tasks)
        assert again["f-0"].attributes["pid"] == done["f-0"].attributes["pid"]
        assert again["f-1"].attributes["pid"] != done["f-1"].attributes["pid"]


def test_a_lane_may_have_fewer_workers_than_the_pool(task):
    with WorkerPool(2, processors=FAKE, lane_sizes={"inference": 1}) as pool:
        tasks = [replace(task(f"i-{i}", "look"), lane="inference") for i in range(4)]
        tasks += [task(f"d-{i}", "look") for i in range(4)]
        done = outcomes(pool, tasks)
        pids = {name: result.attributes["pid"] for name, result in done.items()}
        assert len({pid for name, pid in pids.items() if name[0] == "i"}) == 1
        assert len(done) == 8


def test_a_source_may_have_nothing_now_and_more_later(pool, task):
    """Tasks that come of results: the pool asks again instead of ending."""
    results = []

    def source():
        yield task("first")
        while not results:
            yield None
        yield task("second")

    results.extend(done.task_id for done in pool.run(source()))
    assert results == ["first", "second"]


def test_programs_of_a_worker_count_as_its_memory(task):
    limits = WorkerLimits(memory_bytes=400 * 1024**2)
    with WorkerPool(1, limits, processors=FAKE) as pool:
        grown = outcomes(pool, [replace(task("grown", "grow-outside"), lane="execute")])["grown"]
        assert grown.code is Code.MEMORY
        assert pool.stats["workers_killed"] == 1


def test_content_may_be_bytes(pool):
    done = outcomes(pool, [Task("b", "echo", b"given", None, {}, 20)])
    assert done["b"].message == "given"


def test_the_pool_tells_what_it_got_done_and_what_it_took(task):
    with WorkerPool(1, processors=FAKE) as pool:
        outcomes(pool, [task(f"f-{i}") for i in range(5)] + [task("slow", "slow", "0.3")])
    told = pool.usage.summary()
    assert told["files"] == 6
    assert told["seconds_per_file"]["slow"] >= 0.3
    assert 0 < told["files_per_second"] < 20
    assert 5 < told["peak_mib"]["decode"] < 2000


def test_nothing_is_left_in_the_temporary_directory(task, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    with WorkerPool(2, processors=FAKE) as pool:
        outcomes(pool, [task("a", "segfault"), task("b", "hang", deadline=0.3), task("c")])
        assert list((tmp_path / "scratch").iterdir())
    assert not list((tmp_path / "scratch").iterdir())


def test_the_pool_survives_the_death_of_its_zygote(pool, task):
    outcomes(pool, [task("a")])
    os.kill(pool._zygote.process.pid, signal.SIGKILL)
    pool._zygote.process.wait()
    done = outcomes(pool, [task(f"f-{i}") for i in range(5)])
    assert {result.code for result in done.values()} == {Code.OK}


def test_nothing_outlives_a_killed_run(task, tmp_path):
    """kill -9 of the process that holds the pool: zygote, worker and its child are gone."""
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, pathlib\n"
        f"sys.path.insert(0, {str(Path.cwd())!r})\n"
        "from media_pipeline.workers.pool import WorkerPool, Task\n"
        f"pool = WorkerPool(1, processors={FAKE!r})\n"
        f"t = Task('a', 'hang', pathlib.Path({str(tmp_path / 'f')!r}), None, {{}}, 60)\n"
        f"look = Task('l', 'look', pathlib.Path({str(tmp_path / 'f')!r}), None, {{}}, 60)\n"
        "done = next(pool.run([look]))\n"
        "print(pool._zygote.process.pid, done.result.attributes['pid'], flush=True)\n"
        "list(pool.run([t]))\n"
    )
    (tmp_path / "f").write_text("x")
    run = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    pids = [int(word) for word in run.stdout.readline().split()]
    assert len(pids) == 2
    run.kill()
    run.wait()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its run"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_available_cpus_is_at_least_one():
    assert 1 <= available_cpus() <= os.cpu_count()
