"""Text: what comes out of each kind of file, and under which name it fails."""

import gzip
import json

import pymupdf
import pytest

from media_pipeline.domain.outcome import Code
from media_pipeline.processing.media_type import sniff
from media_pipeline.processing.text import TextLimits, extract_text


def extract(data: bytes, declared=None, **limits):
    return extract_text(data, sniff(data, declared), TextLimits(**limits))


def document(result) -> dict:
    (packed,) = [part.data for part in result.artifacts if part.name == "text.json.gz"]
    return json.loads(gzip.decompress(packed))


def plain(result) -> str:
    (text,) = [part.data for part in result.artifacts if part.name == "text.txt"]
    return text.decode()


def pdf(*pages: str, **options) -> bytes:
    made = pymupdf.open()
    for text in pages:
        page = made.new_page()
        page.insert_textbox(pymupdf.Rect(50, 50, 550, 800), text, fontsize=11)
    return made.tobytes(**options)


PARAGRAPH = "The quick brown fox jumps over the lazy dog near the river bank. " * 4


def test_pages_come_in_order_with_their_class():
    result = extract(pdf(PARAGRAPH, "", "Short note with few words."))
    assert result.code is Code.OK
    pages = document(result)["pages"]
    assert [(page["number"], page["class"]) for page in pages] == [
        (1, "text"),
        (2, "blank"),
        (3, "little"),
    ]
    assert plain(result).index("quick") < plain(result).index("Short note")
    assert result.attributes["page_classes"] == {"text": 1, "blank": 1, "little": 1}
    assert pages[0]["blocks"][0]["bbox"][0] == pytest.approx(50, abs=3)


def test_columns_are_read_one_after_the_other():
    made = pymupdf.open()
    page = made.new_page()
    page.insert_textbox(pymupdf.Rect(50, 300, 280, 400), "lower left")
    page.insert_textbox(pymupdf.Rect(50, 100, 280, 200), "upper left")
    assert plain(extract(made.tobytes())).split() == ["upper", "left", "lower", "left"]


def test_a_scan_is_a_page_that_is_a_picture():
    picture = pymupdf.open(stream=pdf(PARAGRAPH), filetype="pdf")[0].get_pixmap(dpi=60)
    made = pymupdf.open()
    page = made.new_page()
    page.insert_image(page.rect, pixmap=picture)
    result = extract(made.tobytes())
    assert result.attributes["page_classes"] == {"scan": 1}
    assert result.attributes["characters"] == 0


def test_caps_cut_and_say_so():
    result = extract(pdf(*[PARAGRAPH] * 5), max_pages=2)
    assert (len(document(result)["pages"]), result.attributes["pages"]) == (2, 5)
    assert result.attributes["truncated"] is True
    assert extract(b"x" * 100, max_characters=10).attributes["characters"] == 10


def test_metadata_is_kept():
    made = pymupdf.open()
    made.new_page().insert_text((50, 50), PARAGRAPH[:60])
    made.set_metadata({"title": "Annual report", "author": "Office"})
    attributes = extract(made.tobytes()).attributes
    assert (attributes["title"], attributes["author"]) == ("Annual report", "Office")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.EMPTY),
        (pdf("x", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="u"), Code.ENCRYPTED),
        (pdf("x")[:120], Code.INVALID),
        (b"%PDF-1.7\n%%EOF", Code.INVALID),
        (b"\x89PNG\r\n\x1a\n rest", Code.NOT_APPLICABLE),
        (b"SAMPLE\x00\x01\x02", Code.UNSUPPORTED),
        (b"PK\x03\x04rest", Code.UNSUPPORTED),
    ],
)
def test_named_ends(data, code):
    result = extract(data)
    assert (result.code, result.artifacts) == (code, ())
    assert result.message


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("naïve café".encode(), "naïve café"),
        (b"\xef\xbb\xbfmarked", "marked"),
        ("wide".encode("utf-16"), "wide"),
        (
            ("Schöne Grüße, heiße Füße im Kühlen. " * 8).encode("cp1252"),
            "Schöne Grüße, heiße Füße im Kühlen. " * 8,
        ),
    ],
)
def test_charsets(data, text):
    assert plain(extract(data, "text/plain")) == text


def test_html_shows_what_a_reader_sees():
    markup = (
        "<!doctype html><html><head><title> A page </title><style>p{}</style></head><body>"
        "<script>alert(1)</script><h1>Head</h1><p>One &amp; two</p><p>three</p></body></html>"
    )
    result = extract(markup.encode())
    assert plain(result) == "Head\nOne & two\nthree"
    assert result.attributes["title"] == "A page"


def test_the_declared_type_is_recorded_when_it_lies():
    attributes = extract(b"just text", "image/png").attributes
    assert (attributes["media_type"], attributes["declared_type"]) == ("text/plain", "image/png")


def test_the_same_file_gives_the_same_bytes():
    data = pdf(PARAGRAPH)
    assert extract(data).artifacts == extract(data).artifacts
