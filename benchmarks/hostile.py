"""Any folder of files through the cage: how each ends, how long it takes, what it costs.

    python benchmarks/hostile.py [DIR] [--deadline 10] [--memory-mb 2048] [--mutations 3000]

Without a folder the corpus of tests/faults is made and run. Every file goes through all four
workloads: what page pictures and frames come of it are read by OCR and by the moderation
model. `--mutations` adds that many accidents to the files. The exit code is 1 when a file
ends without a name or not at all, takes much longer than its deadline, or kills its decoder.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from media_pipeline.domain.outcome import Code, ProcessorResult
from media_pipeline.fingerprints import frame_params
from media_pipeline.models.onnx_import import import_opennsfw
from media_pipeline.models.registry import ModelManifest
from media_pipeline.processing.processors import params_from
from media_pipeline.processing.tesseract_program import tesseract_program
from media_pipeline.settings import Settings
from media_pipeline.workers.limits import WorkerLimits
from media_pipeline.workers.pool import Task, TaskDone, WorkerPool

SETTINGS = Settings()
PROCESSING = SETTINGS.processing.model_dump()
#: Kinds that read what another kind made of the file.
SECOND_STAGES = {"page_images": "ocr", "frames": "moderation"}
_SLACK_SECONDS = 10.0


@dataclass
class Model:
    """The moderation model that frames are judged by."""

    path: Path
    manifest: ModelManifest

    def params(self, deadline: float) -> dict[str, dict[str, object]]:
        """Kind -> parameters of its tasks, but for what depends on the file."""
        command, tessdata = tesseract_program(None, None)
        manifest = self.manifest
        return {
            "text": params_from("text", PROCESSING),
            "thumbnails": params_from("thumbnails", PROCESSING),
            "page_images": {**params_from("page_images", PROCESSING), "pages": [1]},
            "frames": frame_params(SETTINGS, manifest),
            "ocr": {
                "command": command, "tessdata": tessdata, "languages": ["eng"],
                "timeout_seconds": deadline / 2,
            },
            "moderation": {
                "path": str(self.path), "sha256": manifest.sha256,
                "labels": list(manifest.labels), "mean": list(manifest.mean),
                "side": manifest.crop, "device": "cpu", "dtype": "auto", "batch": 8,
            },
        }  # fmt: skip


@dataclass
class Attack:
    """Files on their way through all kinds, and how they ended."""

    files: Iterator[tuple[str, bytes | Path]]
    params: Mapping[str, Mapping[str, object]]
    deadline: float
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    ends: list[tuple[float, str, str, str]] = field(default_factory=list)
    crashed: list[tuple[str, str, str]] = field(default_factory=list)
    waiting: deque[Task] = field(default_factory=deque)
    asked: int = 0
    open: int = 0
    unnamed: int = 0
    late: int = 0

    def tasks(self) -> Iterator[Task | None]:
        """Second stages first: they hold pictures."""
        exhausted = False
        while True:
            if not self.waiting and not exhausted:
                found = next(self.files, None)
                if found is None:
                    exhausted = True
                else:
                    self.waiting.extend(self._first_stages(*found))
            if self.waiting:
                self.asked += 1
                self.open += 1
                yield self.waiting.popleft()
            elif self.open:
                yield None
            else:
                return

    def _first_stages(self, name: str, content: bytes | Path) -> Iterator[Task]:
        for kind, params in self.params.items():
            if kind not in SECOND_STAGES.values():
                yield Task(f"{kind}\0{name}", kind, content, None, params, self.deadline)

    def note(self, done: TaskDone) -> None:
        """Count an end, and ask for the second stage where there is one."""
        self.open -= 1
        kind, _, name = done.task_id.partition("\0")
        result = done.result
        self.counts[kind][str(result.code)] += 1
        self.unnamed += result.code is not Code.OK and not result.message
        self.late += result.seconds > self.deadline + _SLACK_SECONDS
        self.ends.append((result.seconds, kind, name, f"{result.code} {result.message}"[:90]))
        if result.code is Code.CRASH:
            self.crashed.append((kind, name, result.message))
        if kind in SECOND_STAGES and result.artifacts:
            self.waiting.appendleft(self._second_stage(SECOND_STAGES[kind], name, result))

    def _second_stage(self, kind: str, name: str, result: ProcessorResult) -> Task:
        pictures = [part.data for part in result.artifacts]
        params = dict(self.params[kind])
        if kind == "ocr":
            params["sizes"] = [len(picture) for picture in pictures]
        lane = "execute" if kind == "ocr" else "inference"
        content, task_id = b"".join(pictures), f"{kind}\0{name}"
        return Task(task_id, kind, content, None, params, 4 * self.deadline, lane)


def main() -> int:
    """Run everything, print the tables, judge."""
    options = _options()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        model = Model(*import_opennsfw(Path(directory)))
        limits = WorkerLimits(memory_bytes=options.memory_mb * 1024**2, readable=(directory,))
        attack = Attack(_files(options), model.params(options.deadline), options.deadline)
        with WorkerPool(limits=limits) as pool:
            for done in pool.run(attack.tasks()):
                attack.note(done)
            stats, cage = dict(pool.stats), dict(pool.cage)
    _print(attack, time.monotonic() - started)
    lost = attack.asked - sum(one.total() for one in attack.counts.values())
    print(f"cage: {cage}; workers: {stats}")
    for kind, name, message in attack.crashed:
        print(f"crash: {kind} {name}: {message}")
    print(
        f"{attack.asked} asked, {lost} without an answer, {attack.unnamed} unnamed,"
        f" {attack.late} late, {len(attack.crashed)} crashes of a decoder"
    )
    return 1 if lost or attack.unnamed or attack.late or attack.crashed else 0


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    arguments.add_argument("directory", type=Path, nargs="?")
    arguments.add_argument("--deadline", type=float, default=10.0, help="seconds per file and kind")
    arguments.add_argument("--memory-mb", type=int, default=2048)
    arguments.add_argument("--mutations", type=int, default=0, help="accidents to add")
    arguments.add_argument("--seed", type=int, default=1, help="of the mutations")
    arguments.add_argument("--only", default="", help="names that contain this")
    return arguments.parse_args()


def _files(options: argparse.Namespace) -> Iterator[tuple[str, bytes | Path]]:
    """Name and content of every file, and of its mutations."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.faults.mutations import good_files, mutated

    if options.directory is None:
        from tests.faults.hostile_media import hostile_files

        files: dict[str, bytes | Path] = dict(hostile_files())
    else:
        found = sorted(path for path in options.directory.rglob("*") if path.is_file())
        files = {str(path.relative_to(options.directory)): path for path in found}
    files = {name: content for name, content in files.items() if options.only in name}
    yield from files.items()
    if not options.mutations:
        return
    bases = good_files() if options.directory is None else files
    chooser = random.Random(options.seed)  # noqa: S311  # reproducible, no secret
    for number in range(options.mutations):
        name = chooser.choice(sorted(bases))
        content = bases[name]
        data = content.read_bytes() if isinstance(content, Path) else content
        seed = options.seed * 10**6 + number
        times = chooser.randint(1, 40)
        yield f"{name} after {times} accidents of seed {seed}", mutated(data, seed, times)


def _print(attack: Attack, seconds: float) -> None:
    codes = sorted({code for one in attack.counts.values() for code in one})
    table = Table(title=f"outcomes, {seconds:.1f} s in all")
    for column in ("kind", *codes):
        table.add_column(column)
    for kind, found in attack.counts.items():
        table.add_row(kind, *(str(found[code]) for code in codes))
    console = Console()
    console.print(table)
    slowest = Table(title="the slowest")
    for column in ("seconds", "kind", "file", "end"):
        slowest.add_column(column, overflow="fold")
    for took, kind, name, end in sorted(attack.ends, reverse=True)[:12]:
        slowest.add_row(f"{took:.2f}", kind, name, end)
    console.print(slowest)


if __name__ == "__main__":
    sys.exit(main())
