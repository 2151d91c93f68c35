"""Nothing that is uploaded brings the cage down: a named end in time, and neighbours untouched."""

import random
import time
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media_pipeline.domain.outcome import Code
from media_pipeline.local_stack.sample_media import EVERY_KIND, generate
from media_pipeline.processing.processors import params_from
from media_pipeline.settings import ProcessingSettings
from media_pipeline.workers.limits import WorkerLimits
from media_pipeline.workers.pool import Task, WorkerPool
from tests.faults.hostile_media import hostile_files

SETTINGS = ProcessingSettings().model_dump()
MEMORY = 1536 * 1024**2
DEADLINE = 2.5
#: For those that must end as what they are, on a slow machine too.
PATIENCE = 12.0
#: Waiting for a kill, reading a large answer, a slow machine.
SLACK = 6.0
FRAMES = {"resize": 256, "crop": 224, "jpeg_round_trip": True}
KINDS = {
    "text": params_from("text", SETTINGS),
    "thumbnails": params_from("thumbnails", SETTINGS),
    "page_images": {**params_from("page_images", SETTINGS), "pages": [1]},
    "frames": {**params_from("frames", SETTINGS), **FRAMES},
}
GOOD = b"A perfectly good neighbour, in plain text."


@cache
def corpus() -> dict[str, bytes]:
    return hostile_files()


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(2, WorkerLimits(memory_bytes=MEMORY)) as made:
        yield made


def task(name: str, kind: str, data: bytes, deadline: float = DEADLINE) -> Task:
    return Task(name, kind, data, None, KINDS[kind], deadline)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", KINDS)
def test_every_hostile_file_has_a_named_end_in_time(pool, kind):
    tasks = [task(name, kind, data) for name, data in corpus().items()]
    neighbours = [task(f"good-{number}", "text", GOOD) for number in range(len(tasks))]
    mixed = [one for pair in zip(tasks, neighbours, strict=True) for one in pair]
    started = time.monotonic()
    ends = {}
    for done in pool.run(mixed):
        assert done.task_id not in ends
        ends[done.task_id] = done.result
        assert done.result.seconds < DEADLINE + SLACK, done.task_id
    assert time.monotonic() - started < len(tasks) * (DEADLINE + SLACK)
    assert len(ends) == len(mixed)
    for name, result in ends.items():
        assert isinstance(result.code, Code)
        if name.startswith("good-"):
            assert (result.code, result.artifacts[1].data) == (Code.OK, GOOD), name
        else:
            assert result.code is Code.OK or result.message, f"{name}: no reason"
            assert result.code is not Code.CRASH, f"{name} kills its decoder"
    assert sum(len(part.data) for one in ends.values() for part in one.artifacts) < 2**30


def test_the_known_bombs_end_as_what_they_are(pool):
    expected = {
        ("text", "flate_bomb"): {Code.TIMEOUT, Code.MEMORY, Code.OK},
        ("thumbnails", "bmp_giant"): {Code.TOO_LARGE, Code.INVALID},
        ("thumbnails", "gif_giant_frames"): {Code.TOO_LARGE},
        ("thumbnails", "png_just_allowed"): {Code.OK},
        ("thumbnails", "png_text_bomb"): {Code.INVALID},
        ("thumbnails", "eps_in_png_clothes"): {Code.INVALID},
        ("thumbnails", "eps_plain"): {Code.UNSUPPORTED},
        ("text", "docx_bomb"): {Code.TOO_LARGE},
        ("text", "docx_laughs"): {Code.INVALID, Code.OK},
        ("text", "docx_external"): {Code.INVALID, Code.OK},
        ("text", "json_deep"): {Code.OK},
    }
    tasks = [task(f"{kind}/{name}", kind, corpus()[name], PATIENCE) for kind, name in expected]
    ends = {done.task_id: done.result for done in pool.run(tasks)}
    for (kind, name), codes in expected.items():
        assert ends[f"{kind}/{name}"].code in codes, (name, ends[f"{kind}/{name}"])
    # What the system's files hold never comes out, whatever a document refers to.
    for result in ends.values():
        assert not any(b"root:" in part.data for part in result.artifacts)


@cache
def good_files() -> list[bytes]:
    by_recipe = {}
    for sample in generate(EVERY_KIND, seed=9):
        by_recipe.setdefault(sample.asset_id.rsplit("-", 1)[1], sample.data)
    return [data for name, data in sorted(by_recipe.items()) if name not in ("empty", "unknown")]


def mutated(data: bytes, seed: int, times: int) -> bytes:
    """A good file after some accidents: bytes turned, cut out, repeated, moved, cut off."""
    chooser, out = random.Random(seed), bytearray(data)
    for _ in range(times):
        if not out:
            break
        at, size = chooser.randrange(len(out)), chooser.randint(1, 64)
        match chooser.randrange(5):
            case 0:
                out[at] ^= 1 << chooser.randrange(8)
            case 1:
                del out[at : at + size]
            case 2:
                out[at:at] = out[at : at + size] * chooser.randint(1, 50)
            case 3:
                out[at : at + size] = chooser.randbytes(size)
            case _:
                del out[max(1, len(out) - size * 8) :]
    return bytes(out)


@pytest.mark.timeout(300)
@settings(
    max_examples=60, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    which=st.integers(0, 10**6), seed=st.integers(0, 2**32), times=st.integers(1, 40),
    kind=st.sampled_from(sorted(KINDS)),
)  # fmt: skip
def test_accidents_to_good_files_have_named_ends(pool, which, seed, times, kind):
    files = good_files()
    data = mutated(files[which % len(files)], seed, times)
    ends = {
        done.task_id: done.result
        for done in pool.run([task("hurt", kind, data), task("good", "text", GOOD)])
    }
    assert ends["good"].code is Code.OK
    assert isinstance(ends["hurt"].code, Code)
    assert ends["hurt"].code is not Code.CRASH, "a mutation killed the decoder: keep it"
