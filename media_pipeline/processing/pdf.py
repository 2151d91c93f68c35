"""The PDF engine (PyMuPDF, AGPL-3.0), kept behind this one module."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from media_pipeline.domain.outcome import Code
from media_pipeline.processing.results import UnreadableMediaError, decoding

#: Scans: fewer characters than this and images over at least this share of the page.
FEW_CHARACTERS = 20
SCAN_COVERAGE = 0.5
LITTLE_TEXT = 100
#: Garbled: at least this share of replacement, private-use or control characters.
GARBLED_SHARE = 0.2
_REPLACEMENT = "\ufffd"
_FACT_LENGTH = 300

#: ((x0, y0, x1, y1) in points, text)
Block = tuple[tuple[float, ...], str]


@contextmanager
def open_pdf(data: bytes) -> Iterator[Any]:
    """The document; UnreadableMediaError when it needs a password or has no pages."""
    import pymupdf

    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)
    with decoding("not a readable PDF"):
        # The file type is given: left to guess, it would open other formats too.
        document = pymupdf.open(stream=data, filetype="pdf")
        pages = 0 if document.needs_pass else document.page_count
    try:
        if document.needs_pass:
            raise UnreadableMediaError(Code.ENCRYPTED, "the PDF needs a password")
        if pages == 0:
            raise UnreadableMediaError(Code.INVALID, "the PDF has no readable page")
        yield document
    finally:
        document.close()


@decoding("the page cannot be read")
def read_page(document: Any, index: int) -> tuple[str, list[Block]]:
    """Class and blocks in reading order of a page (from 0).

    Blocks and not words or dictionaries: those cost 3 to 14 times as much.
    """
    page = document[index]
    blocks = [
        (tuple(round(edge, 1) if math.isfinite(edge) else 0.0 for edge in block[:4]), block[4])
        for block in page.get_text("blocks", sort=True)
        if block[6] == 0 and block[4].strip()
    ]
    return _page_class(page, "".join(text for _, text in blocks)), blocks


@decoding("the document's facts cannot be read")
def pdf_metadata(document: Any) -> dict[str, object]:
    """What the document says of itself, where it says anything."""
    found = document.metadata or {}
    picked = {
        "title": found.get("title"),
        "author": found.get("author"),
        "created": found.get("creationDate"),
        "modified": found.get("modDate"),
        "encryption": found.get("encryption"),
        "embedded_files": document.embfile_count() or None,
    }
    return {
        name: value[:_FACT_LENGTH] if isinstance(value, str) else value
        for name, value in picked.items()
        if value
    }


def _page_class(page: Any, text: str) -> str:
    """text, little, scan, garbled or blank: which pages want OCR."""
    visible = "".join(text.split())
    if len(visible) < FEW_CHARACTERS:
        if _image_coverage(page) >= SCAN_COVERAGE:
            return "scan"
        return "little" if visible else "blank"
    if _odd_letters(visible) >= len(visible) * GARBLED_SHARE:
        return "garbled"
    return "little" if len(visible) < LITTLE_TEXT else "text"


def _odd_letters(text: str) -> int:
    """How many are replacement, private-use or control characters; the last two do not print.

    Asked of the whole text first: a look at each letter costs as much as reading the page.
    """
    odd = text.count(_REPLACEMENT)
    if not text.isprintable():
        odd += sum(count for letter, count in Counter(text).items() if not letter.isprintable())
    return odd


def _image_coverage(page: Any) -> float:
    """Share of the page (0..1) that images cover; overlaps count twice, capped at 1."""
    area = abs(page.rect.width * page.rect.height)
    if not area:
        return 0.0
    covered = 0.0
    for image in page.get_image_info():
        x0, y0, x1, y1 = image["bbox"]
        width = max(0.0, min(x1, page.rect.x1) - max(x0, page.rect.x0))
        height = max(0.0, min(y1, page.rect.y1) - max(y0, page.rect.y0))
        covered += width * height
    return float(min(1.0, covered / area))


@decoding("the page cannot be rendered")
def page_pixels(document: Any, index: int, longest_side: int) -> tuple[int, int, bytes]:
    """(width, height, RGB bytes) of a page (from 0), its longest side about `longest_side`.

    Rendered at the size wanted: 150 dpi and a downscale cost five times as much.
    """
    import pymupdf

    page = document[index]
    longest = max(page.rect.width, page.rect.height, 1.0)
    zoom = longest_side / longest
    pixels = page.get_pixmap(matrix=pymupdf.Matrix(zoom, zoom), alpha=False, colorspace="rgb")
    return pixels.width, pixels.height, pixels.samples


@decoding("the page cannot be rendered")
def render_grey(document: Any, index: int, dpi: int, max_pixels: int) -> Any:
    """A page (from 0) as a grey Pillow image at `dpi`, or less where it would be too large."""
    import pymupdf
    from PIL import Image

    page = document[index]
    zoom = dpi / 72
    pixels = page.rect.width * page.rect.height * zoom * zoom
    if pixels > max_pixels:
        zoom *= (max_pixels / pixels) ** 0.5
    found = page.get_pixmap(matrix=pymupdf.Matrix(zoom, zoom), alpha=False, colorspace="gray")
    return Image.frombytes("L", (found.width, found.height), found.samples)
