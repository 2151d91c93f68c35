"""Thumbnails of images and of the first page of PDFs: upright, sRGB, all sizes.

Artifacts: `<longest side>.<format>` per configured size. Bytes are the same for the same input,
settings and library versions, in any process.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from media_pipeline.domain.outcome import Artifact, Code, ProcessorResult
from media_pipeline.processing.images import decode_image, on_white
from media_pipeline.processing.media_type import MediaType
from media_pipeline.processing.pdf import open_pdf, page_pixels
from media_pipeline.processing.results import UnreadableMediaError, ended, types_of

VERSION = "3"
METHOD = 2
PREVIEW_SIDE = 64
PREVIEW_QUALITY = 60


@dataclass(frozen=True, slots=True)
class ThumbnailLimits:
    """`sizes`: longest sides in pixels. `max_pixels`: larger images are not decoded.
    `format`: webp, jpeg, png or avif. `quality`: 1..100, not for png."""

    sizes: tuple[int, ...] = (128, 256, 512)
    max_pixels: int = 50_000_000
    format: str = "webp"
    quality: int = 80


def make_thumbnails(data: bytes, media_type: MediaType, limits: ThumbnailLimits) -> ProcessorResult:
    """All sizes of `data`, or a named outcome without artifacts."""
    if not data:
        return ended(Code.EMPTY, "the file has zero bytes", media_type)
    if media_type.family in ("text", "html", "office"):
        return ended(Code.NOT_APPLICABLE, "text has no picture", media_type)
    if media_type.family not in ("image", "pdf"):
        return ended(Code.UNSUPPORTED, f"no decoder for {media_type.mime}", media_type)
    try:
        if media_type.family == "pdf":
            image, facts = _pdf_page(data, max(limits.sizes))
        else:
            image, facts = decode_image(data, max(limits.sizes), limits.max_pixels)
    except UnreadableMediaError as error:
        return ended(error.code, str(error), media_type)
    artifacts, sizes = _scaled(image, limits)
    return ProcessorResult(
        Code.OK,
        artifacts=artifacts,
        attributes={**types_of(media_type), **facts, "sizes": sizes},
        preview=_preview(image),
    )


def _pdf_page(data: bytes, longest_side: int) -> tuple[Any, dict[str, object]]:
    from PIL import Image

    with open_pdf(data) as document:
        width, height, samples = page_pixels(document, 0, longest_side)
        on_paper = document[0].rect
        facts: dict[str, object] = {
            "width": round(on_paper.width),
            "height": round(on_paper.height),
            "format": "PDF",
        }
    return Image.frombytes("RGB", (width, height), samples), facts


def _scaled(
    image: Any, limits: ThumbnailLimits
) -> tuple[tuple[Artifact, ...], dict[str, list[int]]]:
    """Every size from the next larger one: decoded once, and each step is cheap."""
    from PIL import Image

    made: list[Artifact] = []
    facts: dict[str, list[int]] = {}
    for side in sorted(set(limits.sizes), reverse=True):
        if max(image.size) > side:
            image = image.copy()
            image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2)
        data = _encoded(image, limits.format, limits.quality)
        made.append(Artifact(f"{side}.{limits.format}", f"image/{limits.format}", data))
        facts[str(side)] = [image.width, image.height]
    return tuple(reversed(made)), facts


def _preview(image: Any) -> bytes:
    from PIL import Image

    small = image.copy()
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.BILINEAR)
    return _encoded(small, "webp", PREVIEW_QUALITY)


def _encoded(image: Any, name: str, quality: int) -> bytes:
    """The same bytes in every process: AVIF only so with one thread."""
    settings: dict[str, dict[str, Any]] = {
        "webp": {"quality": quality, "method": METHOD},
        "jpeg": {"quality": quality, "optimize": True, "progressive": True},
        "png": {"optimize": True},
        "avif": {"quality": quality, "max_threads": 1, "speed": 6},
    }
    if name == "jpeg" and image.mode == "RGBA":
        image = on_white(image)
    buffer = io.BytesIO()
    image.save(buffer, name.upper(), **settings[name])
    return buffer.getvalue()
