"""Made-up media that look real: for the demo, the tests and the benchmarks.

Deterministic: same count and seed, same bytes (with the same library versions). Each file is
distinct, most are good, some are broken in the ways in which uploads are.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

_WORDS = (
    "harbour", "meeting", "invoice", "river", "annual", "garden", "budget", "window", "museum",
    "letter", "station", "winter", "committee", "paper", "coffee", "journey", "evening",
    "market", "bridge", "account", "delivery", "summer", "castle", "report", "kitchen",
    "morning", "forest", "package", "teacher", "contract", "village", "weather", "concert",
    "engine", "picture",
)  # fmt: skip
#: A one-page PDF (AES-128, user password), kept as bytes because encryption salts at random.
_ENCRYPTED = (
    b"c-n1LJ&YVR6pnNt&=5dEbO^~5i$sz0&)8!-"
    b"S{?GwSV7@*t6P#3rxTjn@$L=U%$#PuQH}~43Y0pjLTI3*K?zM1!F55P2q<W%p#WNFDDdq4C3o>?{PVr}{64?;JiU"
    b"Q+=kPL5dV6>G?j=2NrL98nHQ3q(tMh0Cc$tW0k|Y=)&}@B>^!xC=-5n225sGOufrDb=XMjZOI((-"
    b"dH_<+5n{qz#ZJ*Pe5$-"
    b"TUgm6o6MwJwf=2|<AGtOn|sN~LS$(XRtGHxBm8arYmLz<PYCB7~@#|b&1VBr~>W?lz?;l-"
    b"+)ZO~4}=3|`nnB$r{#9`Y{uL0J5_r&J(DVxJpUsi=~u5X}dB?tkG&?a1OLJ>SbaNW<Ec{_^7PZ!4@6s?b1_G4k9y"
    b"SSQdWG6MT6RtX8a5&!z-J(M<)Wys%;0sZ$57nrEc|B^%s-D0rRjuk-"
    b"b+~?P<Lr3jcYQqx+dyW}Rny>G=%!J#^^xNvV-"
    b"{LpTuolxUK>}BZoU2b$DfJs?8V8OzdxJ4HU9bRSKr+J;Scux(!bB0d2#8lmwx=@&NIK>KmXgqvwuIjd+Ck;-"
    b"oO7Kf35m*>BcXE7kb}5|KQ>9r#q8R&%FHg7klUDroB0Q<)iUGH~;+nUZ?E9)uG1gtsf@{@B|$-"
    b"kTI4rFa}2$jUilE>LU#E(-<N2G?uYbSo#z$&G0dngtn-"
    b"rzU?A6tUmOB$0Rqgs`jheZuAXN9I;HBROW_AX^7x)u1qR4P7PV<JA<-JD#EnLt%^^o2-XM-BXef3UfJwY*zWFhMR"
    b"<^uVJPadXiK;bD7+lsgS25H-~gPXhm2JpiZb3e5Zbwqtg9||rRn<iaB5s9zMIBT&BJznEtVg&&1h}M*U`KRRX)5-"
    b"j(lWY{lm3BQN$sIr9@Z~lOc>LPm#99rqZQc5TRIVgj6X-"
    b")<&BVEJnZ@MwrO4S%H`Oiew_Sm?<TwGtyv1okmm>XEBvp5~1U@XF1I|6N<(kLCiqTGUuE^7>WIhJ_|(~76p<Kmh^"
    b"i0noIr%@+VY?"
)
_PLACES = ("Lisbon", "Turku", "Graz", "Cork", "Ghent", "Aarhus", "Porto", "Brno")


@dataclass(frozen=True, slots=True)
class SampleMedia:
    """One file; `expected` is how the pipeline must end it."""

    asset_id: str
    filename: str
    content_type: str
    data: bytes
    expected: Literal["complete", "partial", "dead_lettered"]


@dataclass(frozen=True, slots=True)
class _Recipe:
    weight: int
    extension: str
    content_type: str
    expected: Literal["complete", "partial", "dead_lettered"]
    make: Callable[[random.Random, str], bytes]


def generate(count: int, seed: int = 1) -> Iterator[SampleMedia]:
    """`count` files in a mixed order; with `EVERY_KIND` or more there is one of each recipe."""
    names = list(_RECIPES)
    weights = [_RECIPES[name].weight for name in names]
    chooser = random.Random(seed)  # noqa: S311  # reproducible, no secret
    order = names + chooser.choices(names, weights, k=max(0, count - len(names)))
    chooser.shuffle(order)
    for number, name in enumerate(order[:count]):
        recipe = _RECIPES[name]
        asset_id = f"demo-{seed}-{number:05d}-{name}"
        rng = random.Random(f"{seed}/{number}/{name}")  # noqa: S311
        yield SampleMedia(
            asset_id=asset_id,
            filename=f"{name}-{number:05d}.{recipe.extension}",
            content_type=recipe.content_type,
            data=recipe.make(rng, asset_id),
            expected=recipe.expected,
        )


def _sentences(rng: random.Random, count: int) -> str:
    made = []
    for _ in range(count):
        words = rng.choices(_WORDS, k=rng.randint(6, 14))
        made.append(" ".join(words).capitalize() + ".")
    return " ".join(made)


def _text_pdf(rng: random.Random, title: str) -> bytes:
    import pymupdf

    document = pymupdf.open()
    document.set_metadata({"title": title, "author": rng.choice(_PLACES) + " Office"})
    for number in range(rng.randint(1, 6)):
        page = document.new_page()
        page.insert_text((56, 72), f"{title}, page {number + 1}", fontsize=18)
        for column in range(2):
            box = pymupdf.Rect(56 + column * 250, 100, 290 + column * 250, 780)
            page.insert_textbox(box, _sentences(rng, 22), fontsize=10)
    return _saved(document)


def _scanned_pdf(rng: random.Random, title: str) -> bytes:
    """A page that is only a picture of text: no text layer."""
    import pymupdf

    source = pymupdf.open()
    page = source.new_page()
    page.insert_textbox(
        pymupdf.Rect(56, 72, 540, 780), f"{title}\n\n{_sentences(rng, 40)}", fontsize=11
    )
    picture = page.get_pixmap(dpi=120, colorspace="gray").tobytes("jpeg", jpg_quality=60)
    source.close()
    document = pymupdf.open()
    page = document.new_page()
    page.insert_image(page.rect, stream=picture)
    return _saved(document)


def _encrypted_pdf(_: random.Random, __: str) -> bytes:
    import base64
    import zlib

    return zlib.decompress(base64.b85decode(_ENCRYPTED))


def _truncated_pdf(rng: random.Random, title: str) -> bytes:
    return _text_pdf(rng, title)[:200]


def _saved(document: Any, **options: Any) -> bytes:
    # No new id and no dates: the same file must have the same bytes.
    data: bytes = document.tobytes(deflate=True, no_new_id=True, **options)
    document.close()
    return data


def _landscape(rng: random.Random, width: int, height: int, caption: str) -> Any:
    """Sky, hills, a sun and some noise: compresses like a photo, not like a test card."""
    from PIL import Image, ImageDraw, ImageFilter

    image = Image.linear_gradient("L").resize((width, height))
    top, bottom = rng.randint(140, 220), rng.randint(90, 140)
    channels = [image.point([top - value * bottom // 255 for value in range(256)])]
    channels += [image.point([min(255, 150 + value // 3) for value in range(256)])]
    channels += [image.point([235 - value // 4 for value in range(256)])]
    picture = Image.merge("RGB", channels)
    draw = ImageDraw.Draw(picture)
    sun = (rng.randint(0, width), rng.randint(0, height // 3))
    radius = height // rng.randint(8, 14)
    draw.ellipse(
        (sun[0] - radius, sun[1] - radius, sun[0] + radius, sun[1] + radius), (255, 240, 190)
    )
    for layer in range(4):
        level = height * (4 + layer) // 9
        ridge = [(0, height)] + [
            (width * step // 12, level + rng.randint(-height // 12, height // 12))
            for step in range(13)
        ]
        shade = 110 - layer * 22
        draw.polygon([*ridge, (width, height)], (shade - 20, shade, shade - 40))
    picture = picture.filter(ImageFilter.GaussianBlur(1.2))
    noise = Image.frombytes("L", (256, 256), rng.randbytes(256 * 256)).resize((width, height))
    picture = Image.blend(picture, Image.merge("RGB", [noise] * 3), 0.06)
    ImageDraw.Draw(picture).text((20, height - 40), caption, (255, 255, 255))
    return picture


def _photo(rng: random.Random, title: str) -> bytes:
    """A JPEG as cameras write them: turned, with the turn noted in EXIF."""
    from PIL import Image

    width, height = rng.choice(((1600, 1200), (2000, 1333), (1280, 960)))
    picture = _landscape(rng, width, height, f"{rng.choice(_PLACES)} {title}")
    orientation = rng.choice((1, 3, 6, 8))
    turn = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90,
            8: Image.Transpose.ROTATE_270}[orientation]  # fmt: skip
    if turn is not None:
        picture = picture.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x0110] = "Sample Camera"
    return _image_bytes(picture, "JPEG", quality=85, exif=exif)


def _alpha_png(rng: random.Random, title: str) -> bytes:
    from PIL import Image, ImageDraw

    picture = Image.new("RGBA", (480, 360), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, size = rng.randint(0, 400), rng.randint(0, 280), rng.randint(30, 120)
        colour = (rng.randint(0, 255), rng.randint(0, 255), rng.randint(0, 255), 160)
        draw.ellipse((x, y, x + size, y + size), colour)
    draw.text((16, 16), title, (20, 20, 20, 255))
    return _image_bytes(picture, "PNG")


def _cmyk_jpeg(rng: random.Random, title: str) -> bytes:
    return _image_bytes(_landscape(rng, 900, 600, title).convert("CMYK"), "JPEG", quality=85)


def _grey16_png(rng: random.Random, title: str) -> bytes:
    from PIL import Image

    grey = _landscape(rng, 640, 480, title).convert("L")
    return _image_bytes(
        Image.frombytes("I;16", grey.size, b"".join(bytes((0, v)) for v in grey.tobytes())), "PNG"
    )


def _animated_gif(rng: random.Random, title: str) -> bytes:
    frames = [_landscape(rng, 240, 180, f"{title} {number}").quantize(64) for number in range(5)]
    return _image_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=120)


def _image_bytes(picture: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _plain(rng: random.Random, title: str) -> bytes:
    return f"{title}\n\n{_sentences(rng, 30)}\n".encode()


def _latin1(rng: random.Random, title: str) -> bytes:
    return f"{title}\n\nÜbergröße, façade, señor. {_sentences(rng, 12)}\n".encode("latin-1")


def _csv(rng: random.Random, title: str) -> bytes:
    rows = [f"{rng.choice(_WORDS)},{rng.randint(1, 999)},{rng.choice(_PLACES)}" for _ in range(40)]
    return "\n".join([f"item,amount,{title}", *rows]).encode()


def _json(rng: random.Random, title: str) -> bytes:
    return json.dumps({"title": title, "notes": _sentences(rng, 8)}, indent=2).encode()


def _html(rng: random.Random, title: str) -> bytes:
    paragraphs = "".join(f"<p>{_sentences(rng, 4)}</p>" for _ in range(5))
    head = f"<title>{title}</title><style>p {{color: #333}}</style>"
    return f"<!doctype html><html><head>{head}</head><body>{paragraphs}</body></html>".encode()


def _garbage(rng: random.Random, _: str) -> bytes:
    return b"\xff\xd8\xff\xe0" + rng.randbytes(3000)


def _huge_png(rng: random.Random, title: str) -> bytes:
    """A few bytes that claim 60,000 x 60,000 pixels."""
    data = bytearray(_alpha_png(rng, title))
    import struct
    import zlib

    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def _unknown(rng: random.Random, _: str) -> bytes:
    return b"SAMPLEFMT\x00\x01" + rng.randbytes(500)


def _nothing(_: random.Random, __: str) -> bytes:
    return b""


_RECIPES: dict[str, _Recipe] = {
    "report": _Recipe(30, "pdf", "application/pdf", "complete", _text_pdf),
    "scan": _Recipe(10, "pdf", "application/pdf", "complete", _scanned_pdf),
    "photo": _Recipe(34, "jpg", "image/jpeg", "complete", _photo),
    "sticker": _Recipe(8, "png", "image/png", "complete", _alpha_png),
    "print": _Recipe(4, "jpg", "image/jpeg", "complete", _cmyk_jpeg),
    "xray": _Recipe(3, "png", "image/png", "complete", _grey16_png),
    "loop": _Recipe(4, "gif", "image/gif", "complete", _animated_gif),
    "note": _Recipe(10, "txt", "text/plain", "complete", _plain),
    "latin": _Recipe(2, "txt", "text/plain", "complete", _latin1),
    "table": _Recipe(4, "csv", "text/csv", "complete", _csv),
    "record": _Recipe(2, "json", "application/json", "complete", _json),
    "page": _Recipe(4, "html", "text/html", "complete", _html),
    "mislabelled": _Recipe(1, "txt", "image/png", "complete", _plain),
    "unknown": _Recipe(1, "dat", "application/octet-stream", "partial", _unknown),
    "encrypted": _Recipe(1, "pdf", "application/pdf", "dead_lettered", _encrypted_pdf),
    "truncated": _Recipe(1, "pdf", "application/pdf", "dead_lettered", _truncated_pdf),
    "garbage": _Recipe(1, "jpg", "image/jpeg", "dead_lettered", _garbage),
    "bomb": _Recipe(1, "png", "image/png", "dead_lettered", _huge_png),
    "empty": _Recipe(1, "pdf", "application/pdf", "dead_lettered", _nothing),
}
#: The fewest files that hold every kind.
EVERY_KIND = len(_RECIPES)
