"""Frames for moderation: what a model looks at, cut to its size, from images and PDF pages.

Artifact `frames.bin`: per frame height x width x 3 bytes, BGR, one after the other. Attribute
`frames` tells where each came from: `image`, or `page 1`.
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

VERSION = "2"
FRAMES = "frames.bin"
#: Decoded at most this large: a model sees a few hundred pixels of it.
_DECODE_SIDE = 1024


@dataclass(frozen=True, slots=True)
class FrameRules:
    """How a model wants its frames. `resize` and `crop`: sides in pixels. `jpeg_round_trip`:
    it was trained on JPEG artefacts, and scores move by up to 0.18 without them."""

    resize: int = 256
    crop: int = 224
    jpeg_round_trip: bool = True
    max_pixels: int = 50_000_000
    max_pdf_pages: int = 3


def frames_of(data: bytes, media_type: MediaType, rules: FrameRules) -> ProcessorResult:
    """The frames of `data`, or a named outcome without artifacts."""
    if not data:
        return ended(Code.EMPTY, "the file has zero bytes", media_type)
    if media_type.family in ("text", "html", "office"):
        return ended(Code.NOT_APPLICABLE, "text has no picture", media_type)
    if media_type.family not in ("image", "pdf"):
        return ended(Code.UNSUPPORTED, f"no decoder for {media_type.mime}", media_type)
    try:
        if media_type.family == "pdf":
            pictures = _pdf_pages(data, rules)
        else:
            image, _ = decode_image(data, _DECODE_SIDE, rules.max_pixels)
            pictures = [("image", on_white(image))]
    except UnreadableMediaError as error:
        return ended(error.code, str(error), media_type)
    packed = b"".join(frame_bytes(picture, rules) for _, picture in pictures)
    return ProcessorResult(
        Code.OK,
        artifacts=(Artifact(FRAMES, "application/octet-stream", packed),),
        attributes={**types_of(media_type), "frames": [source for source, _ in pictures]},
    )


def frame_bytes(picture: Any, rules: FrameRules) -> bytes:
    """One RGB Pillow image as the model wants it: crop x crop x 3 bytes, BGR."""
    from PIL import Image

    side, crop = rules.resize, rules.crop
    offset = (side - crop) // 2
    picture = picture.resize((side, side), Image.Resampling.BILINEAR)
    picture = picture.crop((offset, offset, offset + crop, offset + crop))
    if rules.jpeg_round_trip:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG")
        picture = Image.open(io.BytesIO(buffer.getvalue()), formats=["JPEG"])
    blue, green, red = reversed(picture.convert("RGB").split())
    return bytes(Image.merge("RGB", (blue, green, red)).tobytes())


def _pdf_pages(data: bytes, rules: FrameRules) -> list[tuple[str, Any]]:
    from PIL import Image

    found, failed = [], None
    with open_pdf(data) as document:
        for index in range(min(document.page_count, rules.max_pdf_pages)):
            try:
                width, height, samples = page_pixels(document, index, 2 * rules.resize)
            except UnreadableMediaError as error:
                failed = failed or error
                continue  # one broken page is no reason not to look at the others
            found.append((f"page {index + 1}", Image.frombytes("RGB", (width, height), samples)))
    if not found:
        raise failed or UnreadableMediaError(Code.INVALID, "no page can be rendered")
    return found
