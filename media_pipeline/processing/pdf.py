"""The PDF engine (PyMuPDF, AGPL-3.0), kept behind this one module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from media_pipeline.domain.outcome import Code
from media_pipeline.processing.results import UnreadableMediaError

#: Scans: fewer characters than this and images over at least this share of the page.
FEW_CHARACTERS = 20
SCAN_COVERAGE = 0.5
LITTLE_TEXT = 100
#: Garbled: at least this share of replacement, private-use or control characters.
GARBLED_SHARE = 0.2
_PRIVATE_USE = range(0xE000, 0xF900)
_REPLACEMENT = "\ufffd"


@contextmanager
def open_pdf(data: bytes) -> Iterator[Any]:
    """The document; UnreadableMediaError when it needs a password or has no pages."""
    import pymupdf

    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)
    try:
        # The file type is given: left to guess, it would open other formats too.
        document = pymupdf.open(stream=data, filetype="pdf")
        pages = 0 if document.needs_pass else document.page_count
    except (pymupdf.FileDataError, RuntimeError, ValueError) as error:
        raise UnreadableMediaError(Code.INVALID, f"not a readable PDF: {error}") from error
    try:
        if document.needs_pass:
            raise UnreadableMediaError(Code.ENCRYPTED, "the PDF needs a password")
        if pages == 0:
            raise UnreadableMediaError(Code.INVALID, "the PDF has no readable page")
        yield document
    finally:
        document.close()


def page_blocks(page: Any) -> list[tuple[tuple[float, float, float, float], str]]:
    """Text blocks in reading order: ((x0, y0, x1, y1) in points, text).

    Blocks and not words or dictionaries: those cost 3 to 14 times as much.
    """
    return [
        (tuple(round(edge, 1) for edge in block[:4]), block[4])
        for block in page.get_text("blocks", sort=True)
        if block[6] == 0 and block[4].strip()
    ]


def page_class(page: Any, text: str) -> str:
    """text, little, scan, garbled or blank: which pages want OCR."""
    visible = "".join(text.split())
    if len(visible) < FEW_CHARACTERS:
        if image_coverage(page) >= SCAN_COVERAGE:
            return "scan"
        return "little" if visible else "blank"
    odd = sum(
        letter == _REPLACEMENT or ord(letter) in _PRIVATE_USE or not letter.isprintable()
        for letter in visible
    )
    if odd >= len(visible) * GARBLED_SHARE:
        return "garbled"
    return "little" if len(visible) < LITTLE_TEXT else "text"


def image_coverage(page: Any) -> float:
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
