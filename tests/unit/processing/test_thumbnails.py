"""Thumbnails: upright, in sRGB, in all sizes; broken pictures end under a name."""

import io
import struct
import zlib

import pymupdf
import pytest
from PIL import Image, ImageCms

from media_pipeline.domain.outcome import Code
from media_pipeline.processing.media_type import sniff
from media_pipeline.processing.thumbnails import ThumbnailLimits, make_thumbnails


def make(data: bytes, **limits):
    return make_thumbnails(data, sniff(data), ThumbnailLimits(**limits))


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def largest(result) -> Image.Image:
    assert result.code is Code.OK, result.message
    return Image.open(io.BytesIO(result.artifacts[-1].data)).convert("RGBA")


def quarters(width=800, height=400) -> Image.Image:
    """Red, green / blue, white: a turn or a mirror shows at once."""
    image = Image.new("RGB", (width, height))
    for colour, x, y in (
        ("red", 0, 0), ("lime", 1, 0), ("blue", 0, 1), ("white", 1, 1),
    ):  # fmt: skip
        box = (x * width // 2, y * height // 2, (x + 1) * width // 2, (y + 1) * height // 2)
        image.paste(colour, box)
    return image


def corners(image: Image.Image) -> list[str]:
    named = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "white": (255,) * 3}
    w, h = image.size
    found = []
    for x, y in (
        (w // 4, h // 4),
        (3 * w // 4, h // 4),
        (w // 4, 3 * h // 4),
        (3 * w // 4, 3 * h // 4),
    ):
        pixel = image.getpixel((x, y))[:3]
        found.append(
            min(named, key=lambda n: sum(abs(a - b) for a, b in zip(named[n], pixel, strict=True)))
        )
    return found


UPRIGHT = ["red", "lime", "blue", "white"]


def test_all_sizes_keep_the_proportions():
    result = make(encode(quarters()))
    assert [part.name for part in result.artifacts] == ["128.webp", "256.webp", "512.webp"]
    sizes = [Image.open(io.BytesIO(part.data)).size for part in result.artifacts]
    assert sizes == [(128, 64), (256, 128), (512, 256)]
    assert corners(largest(result)) == UPRIGHT
    assert result.preview
    assert len(result.preview) < 2000


def test_small_pictures_are_not_blown_up():
    assert largest(make(encode(quarters(100, 50)))).size == (100, 50)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_ends_upright(orientation):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    image = quarters()
    if orientation in undo:
        image = image.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    made = largest(make(encode(image, "JPEG", exif=exif, quality=95)))
    assert made.size == (512, 256)
    assert corners(made) == UPRIGHT


def test_cmyk_palette_and_16_bit_look_right():
    assert corners(largest(make(encode(quarters().convert("CMYK"), "JPEG", quality=95)))) == UPRIGHT
    assert corners(largest(make(encode(quarters().quantize(16), "GIF")))) == UPRIGHT
    ramp = Image.frombytes(
        "I;16", (256, 1), b"".join(struct.pack("<H", v * 257) for v in range(256))
    )
    grey = largest(make(encode(ramp.resize((256, 64)))))
    levels = [grey.getpixel((x, 32))[0] for x in (10, 128, 245)]
    assert levels == pytest.approx([10, 128, 245], abs=12)


def test_transparency_is_kept():
    image = Image.new("RGBA", (300, 300), (255, 0, 0, 0))
    image.paste((0, 255, 0, 255), (0, 0, 150, 300))
    made = largest(make(encode(image)))
    assert made.getpixel((40, 150))[3] > 250
    assert made.getpixel((280, 150))[3] < 5


def test_an_embedded_profile_is_applied():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    # A profile of another colour space cannot be applied: the picture survives all the same.
    assert make(encode(quarters(), icc_profile=profile)).code is Code.OK
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert corners(largest(make(encode(quarters(), icc_profile=srgb)))) == UPRIGHT


def test_the_first_page_of_a_pdf():
    made = pymupdf.open()
    page = made.new_page(width=400, height=800)
    page.draw_rect(page.rect, fill=(1, 0, 0), color=None)
    made.new_page()
    image = largest(make(made.tobytes()))
    assert image.size == (256, 512)
    assert image.getpixel((128, 256))[:3] == pytest.approx((255, 0, 0), abs=6)


def huge_png() -> bytes:
    data = bytearray(encode(Image.new("RGB", (4, 4))))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.EMPTY),
        (b"plain text", Code.NOT_APPLICABLE),
        (b"SAMPLE\x00\x01\x02", Code.UNSUPPORTED),
        (b"\x00\x00\x00\x18ftypheic", Code.INVALID),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", Code.NOT_APPLICABLE),
        (b"\xff\xd8\xff\xe0 not a jpeg at all", Code.INVALID),
        (encode(quarters(), "JPEG")[:3000], Code.INVALID),
        (huge_png(), Code.TOO_LARGE),
    ],
)
def test_named_ends(data, code):
    if data.startswith(b"%!PS"):
        code = Code.UNSUPPORTED
    result = make(data)
    assert (result.code, result.artifacts) == (code, ())


def test_the_pixel_limit_is_the_settings():
    assert make(encode(quarters(100, 100)), max_pixels=9_999).code is Code.TOO_LARGE
    assert make(encode(quarters(100, 100)), max_pixels=10_000).code is Code.OK


def test_the_same_file_gives_the_same_bytes():
    data = encode(quarters(), "JPEG")
    assert make(data).artifacts == make(data).artifacts


def test_heic_and_avif_are_read():
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(quarters()).save(buffer, quality=90)
    for data in (buffer.getvalue(), encode(quarters(), "AVIF")):
        result = make(data)
        assert result.code is Code.OK, result.message
        picture = Image.open(io.BytesIO(result.artifacts[0].data)).convert("RGB")
        red = picture.getpixel((picture.width // 4, picture.height // 4))
        assert red[0] > 180
        assert max(red[1:]) < 80


@pytest.mark.parametrize("name", ["webp", "jpeg", "png", "avif"])
def test_the_format_is_a_setting_and_bytes_repeat(name):
    limits = ThumbnailLimits(sizes=(64,), format=name)
    data = encode(quarters(), "PNG")
    first, second = (make_thumbnails(data, sniff(data), limits) for _ in range(2))
    assert first.artifacts[0].name == f"64.{name}"
    assert first.artifacts == second.artifacts
    assert Image.open(io.BytesIO(first.artifacts[0].data)).format == name.upper()
