"""Good files after some accidents: what uploads look like whose transfer went wrong."""

from __future__ import annotations

import io
import random
from functools import cache

from media_pipeline.local_stack.sample_media import EVERY_KIND, generate


@cache
def good_files() -> dict[str, bytes]:
    """Recipe -> a file that ends well, of every kind that anything here reads."""
    found: dict[str, bytes] = {}
    for sample in generate(EVERY_KIND, seed=9):
        found.setdefault(sample.asset_id.rsplit("-", 1)[1], sample.data)
    for name in ("empty", "unknown"):
        del found[name]
    return {**found, **_pictures(), **_documents()}


def _pictures() -> dict[str, bytes]:
    import pillow_heif
    from PIL import Image, ImageCms

    picture = Image.linear_gradient("L").convert("RGB")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made = {}
    for kind, options in (
        ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {}), ("AVIF", {"max_threads": 1}),
        ("BMP", {}), ("JPEG", {"progressive": True, "icc_profile": profile}),
    ):  # fmt: skip
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        made[kind.lower()] = buffer.getvalue()
    buffer = io.BytesIO()
    pillow_heif.from_pillow(picture).save(buffer, quality=50)
    return {**made, "heic": buffer.getvalue()}


def _documents() -> dict[str, bytes]:
    import docx
    import openpyxl
    import pptx

    word, deck, book = docx.Document(), pptx.Presentation(), openpyxl.Workbook()
    word.add_paragraph("A paragraph of words.")
    word.add_table(rows=2, cols=2).cell(0, 0).text = "cell"
    deck.slides.add_slide(deck.slide_layouts[5]).shapes.title.text = "Title"
    for row in range(20):
        book.active.append([f"item {row}", row])
    made = {}
    for name, document in (("docx", word), ("pptx", deck), ("xlsx", book)):
        buffer = io.BytesIO()
        document.save(buffer)
        made[name] = buffer.getvalue()
    return made


def mutated(data: bytes, seed: int, times: int) -> bytes:
    """`data` after `times` accidents: bytes turned, cut out, repeated, replaced, cut off."""
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
