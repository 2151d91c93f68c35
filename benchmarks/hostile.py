"""Any folder of files through the cage: how each ends, how long it takes, what it costs.

    python benchmarks/hostile.py [DIR] [--deadline 10] [--memory-mb 2048]

Without a folder the corpus of tests/faults is made and run. The exit code is 1 when a file
ends without a name, takes much longer than its deadline, or the pool dies.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from media_pipeline.domain.outcome import Code
from media_pipeline.processing.processors import params_from
from media_pipeline.settings import ProcessingSettings
from media_pipeline.workers.limits import WorkerLimits
from media_pipeline.workers.pool import Task, WorkerPool

SETTINGS = ProcessingSettings().model_dump()
KINDS = {
    "text": params_from("text", SETTINGS),
    "thumbnails": params_from("thumbnails", SETTINGS),
    "page_images": {**params_from("page_images", SETTINGS), "pages": [1]},
    "frames": {
        **params_from("frames", SETTINGS), "resize": 256, "crop": 224, "jpeg_round_trip": True,
    },
}  # fmt: skip
_SLACK_SECONDS = 10.0


def files(directory: Path | None) -> Iterator[tuple[str, bytes | Path]]:
    """Name and content of every file."""
    if directory is None:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from tests.faults.hostile_media import hostile_files

        yield from hostile_files().items()
        return
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(directory)), path


def main() -> int:
    """Run everything, print the tables, judge."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("directory", type=Path, nargs="?")
    arguments.add_argument("--deadline", type=float, default=10.0, help="seconds per file and kind")
    arguments.add_argument("--memory-mb", type=int, default=2048)
    options = arguments.parse_args()
    limits = WorkerLimits(memory_bytes=options.memory_mb * 1024**2)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    slow: list[tuple[float, str, str, str]] = []
    unnamed = late = done_count = asked = 0
    started = time.monotonic()

    def tasks() -> Iterator[Task]:
        nonlocal asked
        for name, content in files(options.directory):
            for kind, params in KINDS.items():
                asked += 1
                yield Task(f"{kind}\0{name}", kind, content, None, params, options.deadline)

    with WorkerPool(limits=limits) as pool:
        for done in pool.run(tasks()):
            kind, _, name = done.task_id.partition("\0")
            result = done.result
            counts[kind][str(result.code)] += 1
            done_count += 1
            unnamed += result.code is not Code.OK and not result.message
            late += result.seconds > options.deadline + _SLACK_SECONDS
            slow.append((result.seconds, kind, name, f"{result.code} {result.message}"[:90]))
        stats, cage = dict(pool.stats), dict(pool.cage)
    _print(counts, slow, time.monotonic() - started)
    lost = asked - done_count
    print(f"cage: {cage}; workers: {stats}")
    print(
        f"{asked} asked, {lost} without an answer, {unnamed} unnamed, {late} late,"
        f" {sum(one['crash'] for one in counts.values())} crashes of a decoder"
    )
    return 1 if lost or unnamed or late else 0


def _print(
    counts: dict[str, Counter[str]], slow: list[tuple[float, str, str, str]], seconds: float
) -> None:
    codes = sorted({code for one in counts.values() for code in one})
    table = Table(title=f"outcomes, {seconds:.1f} s in all")
    for column in ("kind", *codes):
        table.add_column(column)
    for kind, found in counts.items():
        table.add_row(kind, *(str(found[code]) for code in codes))
    console = Console()
    console.print(table)
    slowest = Table(title="the slowest")
    for column in ("seconds", "kind", "file", "end"):
        slowest.add_column(column, overflow="fold")
    for took, kind, name, end in sorted(slow, reverse=True)[:12]:
        slowest.add_row(f"{took:.2f}", kind, name, end)
    console.print(slowest)


if __name__ == "__main__":
    sys.exit(main())
