"""Office documents: their text in order, their facts, and every way in which they end."""

import gzip
import io
import json
import zipfile

import docx
import openpyxl
import pptx
import pytest

from media_pipeline.domain.outcome import Code
from media_pipeline.processing.media_type import sniff
from media_pipeline.processing.text import TextLimits, extract_text


def extract(data: bytes, **limits):
    return extract_text(data, sniff(data), TextLimits(**limits))


def pages(result) -> list:
    (packed,) = [part.data for part in result.artifacts if part.name == "text.json.gz"]
    return json.loads(gzip.decompress(packed))["pages"]


def saved(document) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def word() -> bytes:
    document = docx.Document()
    document.core_properties.title, document.core_properties.author = "Minutes", "Office"
    document.add_paragraph("Before the table.")
    table = document.add_table(rows=1, cols=2)
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    document.add_paragraph("After the table.")
    return saved(document)


def slides() -> bytes:
    deck = pptx.Presentation()
    for number in (1, 2):
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        slide.shapes.title.text = f"Title {number}"
        box = slide.shapes.add_textbox(0, pptx.util.Inches(4), pptx.util.Inches(3), 100)
        box.text_frame.text = f"Body {number}"
        slide.notes_slide.notes_text_frame.text = f"Note {number}"
    return saved(deck)


def sheets() -> bytes:
    book = openpyxl.Workbook()
    book.active.title = "Costs"
    for row in (["item", "price"], ["coffee", 3.5], [None, None], ["tea", 2]):
        book.active.append(row)
    book.create_sheet("Empty")
    return saved(book)


def test_word_in_reading_order_with_its_facts():
    result = extract(word())
    assert result.code is Code.OK
    (page,) = pages(result)
    assert [block["text"] for block in page["blocks"]] == [
        "Before the table.", "left\tright", "After the table.",
    ]  # fmt: skip
    assert result.attributes["title"] == "Minutes"
    assert result.attributes["author"] == "Office"


def test_each_slide_is_a_page_with_its_notes():
    result = extract(slides())
    assert [page["name"] for page in pages(result)] == ["slide 1", "slide 2"]
    assert [block["text"] for block in pages(result)[1]["blocks"]] == [
        "Title 2", "Body 2", "Note 2",
    ]  # fmt: skip


def test_each_sheet_is_a_page_of_rows():
    result = extract(sheets())
    first, second = pages(result)
    assert [block["text"] for block in first["blocks"]] == [
        "item\tprice", "coffee\t3.5", "tea\t2",
    ]  # fmt: skip
    assert (second["name"], second["class"]) == ("Empty", "blank")


def test_a_cut_is_said():
    result = extract(word(), max_characters=20)
    assert result.attributes["truncated"] is True
    assert result.attributes["characters"] <= 21


def rezipped(data: bytes, **changed: bytes) -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, changed.get(name, old.read(name)))
    return buffer.getvalue()


ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 20 if n else b"&a;" * 20)
               for n in range(9))
    + b"]><b>&a8;</b>"
)  # fmt: skip


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (word()[:2000], Code.UNSUPPORTED),  # no directory: nothing tells it from other archives
        (rezipped(word(), **{"word/document.xml": b"<broken"}), Code.INVALID),
        (rezipped(word(), **{"word/document.xml": b"0" * 50_000_000}), Code.TOO_LARGE),
        (rezipped(sheets(), **{"xl/workbook.xml": ENTITIES}), Code.INVALID),
        (rezipped(word(), **{"word/document.xml": ENTITIES}), Code.INVALID),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, Code.UNSUPPORTED),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            Code.ENCRYPTED,
        ),
        (b"{\\rtf1 text}", Code.UNSUPPORTED),
    ],
    ids=["cut", "broken", "bomb", "entities xlsx", "entities docx", "old", "encrypted", "rtf"],
)
def test_named_ends(data, code):
    result = extract(data)
    assert result.code is code, result.message
    assert result.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The committee met in the evening and approved the annual budget.", "en"),
        ("Der Ausschuss hat am Abend getagt und den Haushalt beschlossen.", "de"),
        ("Le comité s'est réuni dans la soirée et a approuvé le budget.", "fr"),
        ("12 34", None),
    ],
)
def test_the_language_is_guessed_where_the_text_tells(text, code):
    assert extract(text.encode()).attributes.get("language") == code
