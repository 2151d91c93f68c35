"""Pictures made to hurt, beyond the classics of `hostile_media`."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from tests.faults.hostile_media import _BASIC, MIB, png, tiff


def saved(picture: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _apng_many_frames() -> bytes:
    control = (b"acTL", struct.pack(">II", 2**31 - 1, 0))
    frames: list[tuple[bytes, bytes]] = []
    for number in range(20_000):
        place = struct.pack(">IIIIIHHBB", number, 1, 1, 0, 0, 1, 100, 0, 0)
        frames += [(b"fcTL", place)]
    return png(1, 1, control, *frames, rows=zlib.compress(b"\0\0"))


def _apng_frame_beyond() -> bytes:
    place = struct.pack(">IIIIIHHBB", 0, 2**31 - 1, 2**31 - 1, 2**31 - 1, 0, 0, 0, 2, 1)
    control = (b"acTL", struct.pack(">II", 2, 0))
    return png(8, 8, control, (b"fcTL", place), rows=zlib.compress(b"\0" * 72))


def _webp_animation() -> bytes:
    from PIL import Image

    frames = [Image.new("L", (300, 300), shade % 256).convert("RGB") for shade in range(400)]
    return saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], quality=1, method=0)


def _webp_giant_canvas() -> bytes:
    """16,383 x 16,383 of one colour in 20 bytes or so."""
    body = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + b"\xff\xff\xff" * 2
    body += b"ANIM" + struct.pack("<I", 6) + b"\0" * 6
    frame = b"\0" * 6 + b"\xfe\x3f\0\xfe\x3f\0" + b"\0" * 4
    body += (b"ANMF" + struct.pack("<I", len(frame) + 8) + frame + b"VP8L\0\0\0\0") * 500
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _tiff_many_directories() -> bytes:
    """Twenty thousand directories in a chain."""
    out, size = [b"II*\0" + struct.pack("<I", 8)], 2 + 12 * len(_BASIC) + 4
    for number in range(20_000):
        one = tiff(_BASIC, 8 + size * (number + 1) if number < 19_999 else 0)
        out.append(one[8:])
    return b"".join(out) + b"\x80" * 5000


def _tiff_of_strips() -> bytes:
    """Sixteen million strips of one row in an image of no width to speak of."""
    return tiff(
        [(256, 4, 1, 1), (257, 4, 1, 16_000_000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
         (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, 1)], 0
    ) + b"\0" * 999  # fmt: skip


def _tiff_fax() -> bytes:
    """Group 4, 60,000 x 800 pixels, out of nothing."""
    return tiff(
        [(256, 4, 1, 60_000), (257, 4, 1, 800), (258, 3, 1, 1), (259, 3, 1, 4), (262, 3, 1, 0),
         (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 800), (279, 4, 1, 900)], 0
    ) + b"\x26\xa0" * 900  # fmt: skip


def _tiff_lzw_noise() -> bytes:
    import random

    rows = random.Random(3).randbytes(4000)
    entries = [(tag, kind, count, 5 if tag == 259 else 4000 if tag == 279 else value)
               for tag, kind, count, value in _BASIC]  # fmt: skip
    return (tiff(entries, 0) + b"\0" * 200)[:200] + rows


def _tiff_jpeg_old() -> bytes:
    entries = [(tag, kind, count, 6 if tag == 259 else value) for tag, kind, count, value in _BASIC]
    return tiff(entries, 0) + b"\xff\xd8\xff" * 900


def _tiff_tiles_overlap() -> bytes:
    return tiff(
        [(256, 4, 1, 7000), (257, 4, 1, 7000), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1),
         (277, 3, 1, 1), (322, 4, 1, 1), (323, 4, 1, 1), (324, 4, 1000, 8), (325, 4, 1000, 8)], 0
    ) + b"\x78\x9c" * 5000  # fmt: skip


def _tiff_depth() -> bytes:
    entries = [(tag, kind, count, 65535 if tag in (258, 277) else value)
               for tag, kind, count, value in _BASIC]  # fmt: skip
    return tiff(entries, 0) + b"\x80" * 5000


def _bigtiff() -> bytes:
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60) + b"\0" * 500


def _gif_lzw_endless() -> bytes:
    """A frame of 7,000 x 7,000 whose data say 'clear' again and again."""
    data = b"\xff" + b"\x00\x81" * 127 + b"\x00"
    head = b"GIF89a" + struct.pack("<HHBBB", 7000, 7000, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + b"\x2c" + struct.pack("<HHHHB", 0, 0, 7000, 7000, 0) + b"\x02" + data * 9000


def _gif_comments() -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + (b"!\xfe" + (b"\xff" + b"c" * 255) * 100 + b"\0") * 800


def _png_many_chunks() -> bytes:
    return png(8, 8, *[(b"teXt", b"")] * 300_000, rows=zlib.compress(b"\0" * 72))


def _png_interlaced() -> bytes:
    body = bytearray(png(6900, 6900, rows=zlib.compress(b"\0" * 9000, 9)))
    body[28] = 1
    body[29:33] = struct.pack(">I", zlib.crc32(bytes(body[12:29])))
    return bytes(body)


def _png_chunk_lies() -> bytes:
    return png(8, 8)[:33] + struct.pack(">I", 2**31 - 1) + b"IDAT" + b"\0" * 100


def _jpeg_profile_of_parts() -> bytes:
    """An ICC profile in 255 parts of 64 kB that is none."""
    from PIL import Image

    plain = saved(Image.new("RGB", (64, 64)), "JPEG")
    parts = b"".join(
        b"\xff\xe2\xff\xff" + b"ICC_PROFILE\0" + bytes((number, 255)) + b"\xaa" * 65519
        for number in range(1, 256)
    )
    return plain[:2] + parts + plain[2:]


def _jpeg_profile_tables() -> bytes:
    """A profile with a valid head whose tag table claims four billion entries."""
    from PIL import Image, ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[128:132] = b"\xff\xff\xff\xff"
    return saved(Image.new("RGB", (64, 64)), "JPEG", icc_profile=bytes(profile))


def _jpeg_profile_curve() -> bytes:
    from PIL import Image, ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(profile[131]):
        at = 132 + 12 * number
        profile[at + 4 : at + 12] = struct.pack(">II", 2**32 - 16, 2**32 - 1)
    return saved(Image.new("RGB", (64, 64)), "JPEG", icc_profile=bytes(profile))


def _jpeg_twelve_components() -> bytes:
    sof = b"\xff\xc0" + struct.pack(">HBHHB", 8 + 36, 8, 64, 64, 12) + b"\1\x11\0" * 12
    return b"\xff\xd8" + sof + b"\xff\xda" + b"\0" * 900


def _jpeg_arithmetic() -> bytes:
    return b"\xff\xd8\xff\xc9\x00\x0b\x08\x1b\x58\x1b\x58\x01\x01\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0"


def _jpeg_restarts() -> bytes:
    from PIL import Image

    data = saved(Image.new("L", (4000, 4000)), "JPEG")
    scan = data.rindex(b"\xff\xda")
    return data[: scan + 10] + b"\xff\xd0\xff\xd7" * 2_000_000


def _mpo_lies() -> bytes:
    from PIL import Image

    table = b"MPF\0II*\0\x08\0\0\0" + struct.pack("<H", 3)
    table += struct.pack("<HHII", 0xB000, 7, 4, 0x30303130)
    table += struct.pack("<HHII", 0xB001, 4, 1, 0xFFFFFFFF)
    table += struct.pack("<HHII", 0xB002, 7, 0xFFFFFFFF, 8) + b"\0" * 4
    segment = b"\xff\xe2" + struct.pack(">H", len(table) + 2) + table
    plain = saved(Image.new("RGB", (64, 64)), "JPEG")
    return plain[:2] + segment + plain[2:]


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def full_box(kind: bytes, body: bytes, version: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24) + body)


def heif(brand: bytes, kind: bytes, item: bytes, refs: int, *, width=9000, height=9000) -> bytes:
    """A container with one item of `kind` that is derived from `refs` copies of itself."""
    infe = full_box(b"infe", struct.pack(">HH", 1, 0) + kind + b"\0", 2)
    tile = full_box(b"infe", struct.pack(">HH", 2, 0) + b"hvc1\0", 2)
    iloc = full_box(b"iloc", b"\x44\0" + struct.pack(">H", 2) + struct.pack(
        ">HHHII", 1, 0, 1, 0, len(item)) + struct.pack(">HHHII", 2, 0, 1, 0, 4), 0)  # fmt: skip
    spatial = full_box(b"ispe", struct.pack(">II", width, height))
    links = full_box(b"ipma", struct.pack(">I", 2) + struct.pack(">HBB", 1, 1, 1)
                  + struct.pack(">HBB", 2, 1, 1))  # fmt: skip
    derived = struct.pack(">HH", 1, refs) + struct.pack(">H", 1) * refs
    meta = full_box(
        b"meta",
        full_box(b"hdlr", b"\0" * 4 + b"pict" + b"\0" * 13)
        + full_box(b"pitm", struct.pack(">H", 1))
        + full_box(b"iinf", struct.pack(">H", 2) + infe + tile)
        + full_box(b"iref", box(b"dimg", derived))
        + iloc
        + box(b"iprp", box(b"ipco", spatial) + links),
    )
    return box(b"ftyp", brand + b"\0" * 4 + b"mif1" + brand) + meta + box(b"mdat", item)


def _heic_grid_of_itself() -> bytes:
    return heif(b"heic", b"grid", b"\0\1\xff\xff" + struct.pack(">II", 9000, 9000), 65535)


def _heic_grid_giant() -> bytes:
    item = b"\0\1\xff\xff" + struct.pack(">II", 2**32 - 1, 2**32 - 1)
    return heif(b"heic", b"grid", item, 4, width=2**32 - 1, height=2**32 - 1)


def _heic_overlay() -> bytes:
    item = b"\0\1" + b"\xff" * 8 + struct.pack(">II", 6900, 6900) + b"\0" * 80
    return heif(b"heic", b"iovl", item, 9)


def _heic_identity_loop() -> bytes:
    return heif(b"heic", b"iden", b"", 1)


def _avif_grid() -> bytes:
    return heif(b"avif", b"grid", b"\0\1\xff\xff" + struct.pack(">II", 65535, 65535), 65535)


def _heif_boxes_deep() -> bytes:
    inner = b""
    for _ in range(20_000):
        inner = box(b"iprp", inner)
    return box(b"ftyp", b"heic\0\0\0\0mif1heic") + full_box(b"meta", inner)


def _heif_box_without_end() -> bytes:
    return box(b"ftyp", b"heic\0\0\0\0mif1heic") + struct.pack(">I4sQ", 1, b"meta", 2**63) * 99


def _bmp_rle_endless() -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, 7000, 7000, 1, 8, 1, 0, 0, 0, 256, 0)
    body = b"\0\2\xff\xff" * 200_000
    return b"BM" + struct.pack("<IHHI", 100, 0, 0, 54 + 1024) + head + b"\0" * 1024 + body


def _noise_as_large_as_allowed() -> bytes:
    """49 million pixels with lettering-like noise: every later stage sees a full picture."""
    import random

    row = random.Random(1).randbytes(7000)
    return png(7000, 7000, rows=zlib.compress((b"\0" + row) * 7000, 1))


def _strip() -> bytes:
    """One row of 40 million pixels: no side may become zero."""
    return png(40 * MIB, 1, rows=zlib.compress(b"\0" * (40 * MIB + 1), 9))


MAKERS = {
    name.removeprefix("_"): make
    for name, make in list(globals().items())
    if name.startswith("_") and not name.startswith("__") and callable(make)
}
