"""OCR of page pictures by tesseract, several pages in one process.

What comes of each page, in the order in which the pages came:
    {"text": str, "confidence": 0..100 or null, "rotation": degrees clockwise that made it
     upright, "words": [[x, y, width, height in pixels, confidence, text], ...]}
Boxes are in the picture as it was turned; lines that run downwards are read as they lie. A
page that reads badly is tried in the three other orientations, and the best one is kept.
"""

from __future__ import annotations

import csv
import io
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from media_pipeline.domain.outcome import Artifact, Code, ProcessorResult
from media_pipeline.processing.json_artifact import packed_json

VERSION = "1"
PAGES = "pages.json.gz"
#: Below this mean confidence, or with fewer words, a page may lie on its side.
_DOUBTFUL = 60.0
_FEW_WORDS = 3
#: Another orientation must read this much better to be believed.
_CLEARLY_BETTER = 1.5
_WORD_LEVEL = "5"


@dataclass(frozen=True, slots=True)
class OcrLimits:
    """`timeout_seconds`: of one tesseract process. `command`: the tesseract program.
    `tessdata`: folder of its language packs; empty where the program knows."""

    command: str
    tessdata: str
    languages: tuple[str, ...] = ("eng",)
    timeout_seconds: float = 120.0


def installed_languages(command: str, tessdata: str) -> list[str]:
    """Language packs that tesseract finds, sorted."""
    import pytesseract

    pytesseract.pytesseract.tesseract_cmd = command
    return sorted(pytesseract.get_languages(config=_folder(tessdata)))


def read_pages(pictures: Sequence[bytes], limits: OcrLimits) -> ProcessorResult:
    """Text, words and confidence of PGM pictures, as the artifact `pages.json.gz`.

    Outcomes: `ok`; `unsupported` when a language pack is missing, naming it; `timeout`;
    `invalid` when tesseract refuses a picture.
    """
    import pytesseract

    missing = sorted(
        set(limits.languages) - set(installed_languages(limits.command, limits.tessdata))
    )
    if missing:
        installed = ", ".join(installed_languages(limits.command, limits.tessdata)) or "none"
        return ProcessorResult(
            Code.UNSUPPORTED,
            f"no language pack for {', '.join(missing)}; installed: {installed}. Remedy: add"
            " <language>.traineddata to the tessdata folder of the image.",
        )
    try:
        pages = _read([(picture, 0) for picture in pictures], limits)
        doubtful = [number for number, page in enumerate(pages) if _is_doubtful(page)]
        if doubtful:
            turned = [(pictures[at], turn) for at in doubtful for turn in (90, 180, 270)]
            found = _read(turned, limits)
            for index, at in enumerate(doubtful):
                best = max(found[3 * index : 3 * index + 3], key=_score)
                if _score(best) > _CLEARLY_BETTER * _score(pages[at]):
                    pages[at] = best
    except pytesseract.TesseractError as error:
        return ProcessorResult(Code.INVALID, f"tesseract refused a page: {str(error)[:300]}")
    except RuntimeError as error:
        # How pytesseract tells a time-out.
        return ProcessorResult(Code.TIMEOUT, f"{error} ({limits.timeout_seconds:g} s)")
    return ProcessorResult(
        Code.OK, artifacts=(Artifact(PAGES, "application/gzip", packed_json({"pages": pages})),)
    )


def _folder(tessdata: str) -> str:
    return f"--tessdata-dir {shlex.quote(tessdata)}" if tessdata else ""


def _read(pictures: Sequence[tuple[bytes, int]], limits: OcrLimits) -> list[dict[str, Any]]:
    """One process for all: starting one costs as much as an easy page.

    The worker's environment limits tesseract to one thread: its own threads burn four times
    the CPU for the same page.
    """
    from pytesseract import pytesseract

    pytesseract.tesseract_cmd = limits.command
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        paths = []
        for number, (data, turn) in enumerate(pictures):
            path = directory / f"{number}.pgm"
            path.write_bytes(_turned(data, turn) if turn else data)
            paths.append(str(path))
        listed = directory / "pages.txt"
        listed.write_text("\n".join(paths) + "\n")
        pytesseract.run_tesseract(
            str(listed),
            str(directory / "read"),
            "txt",
            "+".join(limits.languages),
            config=f"{_folder(limits.tessdata)} -c tessedit_create_tsv=1",
            timeout=limits.timeout_seconds,
        )
        texts = (directory / "read.txt").read_text(errors="replace").split("\f")
        words = _words((directory / "read.tsv").read_text(errors="replace"))
    return [
        _page(texts[number] if number < len(texts) else "", words.get(number + 1, []), turn)
        for number, (_, turn) in enumerate(pictures)
    ]


def _page(text: str, words: list[list[Any]], rotation: int) -> dict[str, Any]:
    letters = sum(len(word[5]) for word in words)
    weighed = sum(word[4] * len(word[5]) for word in words)
    return {
        "text": text.strip(),
        "confidence": round(weighed / letters, 1) if letters else None,
        "rotation": rotation,
        "words": words,
    }


def _words(table: str) -> dict[int, list[list[Any]]]:
    """Page number -> words, from tesseract's TSV."""
    found: dict[int, list[list[Any]]] = {}
    rows = csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE)
    for row in rows:
        if row["level"] != _WORD_LEVEL or not (row["text"] or "").strip():
            continue
        box = [int(row[name]) for name in ("left", "top", "width", "height")]
        word = [*box, round(float(row["conf"]), 1), row["text"]]
        found.setdefault(int(row["page_num"]), []).append(word)
    return found


def _is_doubtful(page: Mapping[str, Any]) -> bool:
    return len(page["words"]) < _FEW_WORDS or (page["confidence"] or 0.0) < _DOUBTFUL


def _score(page: Mapping[str, Any]) -> float:
    """How much was read how surely: letters of believable words, weighed by confidence."""
    return float(
        sum(
            len(word[5]) * word[4]
            for word in page["words"]
            if word[4] >= _DOUBTFUL and len(word[5]) > 1
        )
    )


def _turned(data: bytes, degrees: int) -> bytes:
    """A PGM turned clockwise."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["PPM"]) as image:
        turn = {
            90: Image.Transpose.ROTATE_270,
            180: Image.Transpose.ROTATE_180,
            270: Image.Transpose.ROTATE_90,
        }
        made = image.transpose(turn[degrees])
    buffer = io.BytesIO()
    made.save(buffer, "PPM")
    return buffer.getvalue()
