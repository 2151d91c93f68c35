"""Pages as pictures for OCR: rendered from PDFs or taken from images, grey, upright.

Artifacts: `page-<number>.pgm` (binary PGM, 8 bit) per page. Attribute `pages` describes them:
    [{"number": 1.., "width": pixels, "height": pixels, "dpi": int or null, "digest": sha256}]
`null` where an image has no size on paper. Pages without any ink are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from media_pipeline.domain.outcome import Artifact, Code, ProcessorResult
from media_pipeline.processing.images import decode_image, on_white
from media_pipeline.processing.media_type import MediaType
from media_pipeline.processing.pdf import open_pdf, render_grey
from media_pipeline.processing.results import UnreadableMediaError, ended, types_of

VERSION = "1"
#: Lines lower than this at the normal resolution are small print (about 7 points at 200 dpi).
_SMALL_PRINT_LINE = 17
_INK = 128
#: Share of neighbouring pixels that differ sharply: lettering has many, photos few.
_SHARP = 90
_MIN_SHARP_SHARE = 0.002
_MIN_SIDE = 24
#: Images below this are enlarged: screenshots carry letters of ten pixels.
_ENLARGE_BELOW = 1200


@dataclass(frozen=True, slots=True)
class PageImageLimits:
    """`dpi`: of PDF pages; `small_print_dpi` instead where letters are small. `max_pixels`:
    of one page, larger ones are rendered smaller. `max_pages`: of one media asset."""

    dpi: int = 200
    small_print_dpi: int = 300
    max_pixels: int = 40_000_000
    max_pages: int = 200


def page_images(
    data: bytes, media_type: MediaType, limits: PageImageLimits, pages: Sequence[int] = ()
) -> ProcessorResult:
    """The pages that want OCR, or a named outcome without artifacts.

    `pages`: numbers (from 1) of the PDF pages whose text layer is missing or garbled.
    """
    if not data:
        return ended(Code.EMPTY, "the file has zero bytes", media_type)
    if media_type.family not in ("pdf", "image"):
        return ended(Code.NOT_APPLICABLE, "there is nothing to recognise", media_type)
    try:
        if media_type.family == "pdf":
            if not pages:
                message = "every page has a text layer of its own"
                return ended(Code.NOT_APPLICABLE, message, media_type)
            made = _from_pdf(data, limits, pages[: limits.max_pages])
        else:
            made = _from_image(data, limits)
    except UnreadableMediaError as error:
        return ended(error.code, str(error), media_type)
    if not made:
        return ended(Code.NOT_APPLICABLE, "the picture shows no lettering", media_type)
    artifacts, facts = [], []
    for number, dpi, image in made:
        data = _pgm(image)
        artifacts.append(Artifact(f"page-{number}.pgm", "image/x-portable-graymap", data))
        facts.append(
            {
                "number": number,
                "width": image.width,
                "height": image.height,
                "dpi": dpi,
                "digest": hashlib.sha256(data).hexdigest(),
            }
        )
    left_out = max(0, len(pages) - limits.max_pages)
    attributes = {**types_of(media_type), "pages": facts, "left_out": left_out}
    return ProcessorResult(Code.OK, artifacts=tuple(artifacts), attributes=attributes)


def _from_pdf(
    data: bytes, limits: PageImageLimits, pages: Sequence[int]
) -> list[tuple[int, int | None, Any]]:
    made: list[tuple[int, int | None, Any]] = []
    with open_pdf(data) as document:
        for number in pages:
            if number > document.page_count:
                continue
            dpi = limits.dpi
            image = render_grey(document, number - 1, dpi, limits.max_pixels)
            if _line_height(image) < _SMALL_PRINT_LINE:
                dpi = limits.small_print_dpi
                image = render_grey(document, number - 1, dpi, limits.max_pixels)
            if _has_ink(image):
                made.append((number, dpi, image))
    return made


def _from_image(data: bytes, limits: PageImageLimits) -> list[tuple[int, int | None, Any]]:
    from PIL import Image

    side = int(limits.max_pixels**0.5)
    image, _ = decode_image(data, side, limits.max_pixels)
    grey = on_white(image).convert("L")
    if min(grey.size) < _MIN_SIDE or not _may_carry_text(grey):
        return []
    if max(grey.size) < _ENLARGE_BELOW:
        grey = grey.resize((grey.width * 2, grey.height * 2), Image.Resampling.BICUBIC)
    return [(1, None, grey)]


def _may_carry_text(grey: Any) -> bool:
    import numpy as np

    small = grey.copy()
    small.thumbnail((1600, 1600))
    pixels = np.asarray(small, dtype=np.int16)
    sharp = np.abs(np.diff(pixels, axis=1)) > _SHARP
    return bool(sharp.mean() >= _MIN_SHARP_SHARE)


def _has_ink(grey: Any) -> bool:
    low, high = grey.getextrema()
    return bool(high - low > _INK // 2)


def _line_height(grey: Any) -> float:
    """Median height in pixels of the runs of rows that carry ink; large when there is none."""
    import numpy as np

    ink = np.asarray(grey) < _INK
    # A row counts from a few dark pixels on: dust must not join two lines.
    rows = ink.sum(axis=1) > max(3, grey.width // 200)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], rows.astype(np.int8), [0]))))
    heights = edges[1::2] - edges[::2]
    heights = heights[heights > 3]  # noqa: PLR2004  # rules and specks are no lines
    return float(np.median(heights)) if len(heights) else float(grey.height)


def _pgm(image: Any) -> bytes:
    header = f"P5\n{image.width} {image.height}\n255\n".encode()
    return header + bytes(image.tobytes())
