"""Documents, archives and texts made to hurt, beyond the classics of `hostile_media`."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from functools import cache

from tests.faults.hostile_media import _W, MIB, docx


@cache
def plain(kind: str) -> bytes:
    """A small good document."""
    buffer = io.BytesIO()
    if kind == "xlsx":
        import openpyxl

        book = openpyxl.Workbook()
        book.active["A1"] = "x"
        book.save(buffer)
    else:
        import pptx

        deck = pptx.Presentation()
        deck.slides.add_slide(deck.slide_layouts[5]).shapes.title.text = "x"
        deck.save(buffer)
    return buffer.getvalue()


def rezipped(data: bytes, changed: dict[str, bytes], level: int = 6) -> bytes:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as new,
    ):
        for name in old.namelist():
            new.writestr(name, changed.get(name, old.read(name)))
        for name in changed.keys() - set(old.namelist()):
            new.writestr(name, changed[name])
    return out.getvalue()


_LAUGHS = b'<?xml version="1.0"?><!DOCTYPE d [' + b"".join(
    b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10 if n else b"ha" * 50) for n in range(10)
) + b"]>"  # fmt: skip
_QUADRATIC = b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "' + b"a" * 50_000 + b'">]>'
_S = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_SHEET, _SLIDE = "xl/worksheets/sheet1.xml", "ppt/slides/slide1.xml"


def _xlsx_laughs() -> bytes:
    body = b"<worksheet " + _S + b'><sheetData><row r="1"><c t="inlineStr"><is><t>&e9;</t></is>'
    return rezipped(plain("xlsx"), {_SHEET: _LAUGHS + body + b"</c></row></sheetData></worksheet>"})


def _xlsx_shared_laughs() -> bytes:
    body = _LAUGHS + b"<sst " + _S + b"><si><t>&e9;</t></si></sst>"
    return rezipped(plain("xlsx"), {"xl/sharedStrings.xml": body})


def _pptx_laughs() -> bytes:
    return rezipped(plain("pptx"), {_SLIDE: _LAUGHS + b"<p>&e9;</p>"})


def _pptx_quadratic() -> bytes:
    return rezipped(plain("pptx"), {_SLIDE: _QUADRATIC + b"<p>" + b"&a;" * 50_000 + b"</p>"})


def _docx_quadratic() -> bytes:
    return docx(_QUADRATIC + b"<w:document " + _W + b"><w:body><w:p><w:r><w:t>"
                + b"&a;" * 50_000 + b"</w:t></w:r></w:p></w:body></w:document>")  # fmt: skip


def _xlsx_wide() -> bytes:
    row = b'<row r="%d">' + b'<c t="inlineStr"><is><t>x</t></is></c>' * 16_384 + b"</row>"
    rows = b"".join(row % number for number in range(1, 40))
    sheet = b"<worksheet " + _S + b"><sheetData>" + rows + b"</sheetData></worksheet>"
    return rezipped(plain("xlsx"), {_SHEET: sheet})


def _xlsx_shared_lies() -> bytes:
    sheet = b"<worksheet " + _S + b'><sheetData><row r="1"><c t="s"><v>99999999</v></c></row>'
    return rezipped(
        plain("xlsx"),
        {
            _SHEET: sheet + b"</sheetData></worksheet>",
            "xl/sharedStrings.xml": b"<sst " + _S + b' count="4294967295"/>',
        },
    )


def _xlsx_huge_string() -> bytes:
    text = b"x" * (60 * MIB)
    sheet = b"<worksheet " + _S + b'><sheetData><row r="1"><c t="inlineStr"><is><t>'
    return rezipped(
        plain("xlsx"), {_SHEET: sheet + text + b"</t></is></c></row></sheetData></worksheet>"}, 0
    )


def _xlsx_merged_everywhere() -> bytes:
    cells = b'<mergeCell ref="A1:XFD1048576"/>' * 20_000
    sheet = b"<worksheet " + _S + b"><sheetData/><mergeCells>" + cells + b"</mergeCells>"
    return rezipped(plain("xlsx"), {_SHEET: sheet + b"</worksheet>"})


def _xlsx_styles() -> bytes:
    formats = b'<numFmt numFmtId="200" formatCode="' + b"[" * 60_000 + b'"/>'
    return rezipped(plain("xlsx"), {"xl/styles.xml": b"<styleSheet " + _S + b"><numFmts>"
                    + formats + b"</numFmts></styleSheet>"})  # fmt: skip


def _xlsx_dates() -> bytes:
    cells = b'<c s="1"><v>1e308</v></c><c t="d"><v>99999-99-99</v></c><c t="e"><v>#X</v></c>'
    sheet = b"<worksheet " + _S + b'><sheetData><row r="1">' + cells + b"</row></sheetData>"
    return rezipped(plain("xlsx"), {_SHEET: sheet + b"</worksheet>"})


def _pptx_slides_of_itself() -> bytes:
    with zipfile.ZipFile(io.BytesIO(plain("pptx"))) as archive:
        body = archive.read("ppt/presentation.xml")
        found = body[body.index(b"<p:sldId ") : body.index(b"</p:sldIdLst>")]
    return rezipped(plain("pptx"), {"ppt/presentation.xml": body.replace(found, found * 5000)})


def _pptx_groups_deep() -> bytes:
    with zipfile.ZipFile(io.BytesIO(plain("pptx"))) as archive:
        body = archive.read(_SLIDE)
    at = body.index(b"</p:spTree>")
    return rezipped(plain("pptx"), {_SLIDE: body[:at] + b"<p:grpSp>" * 60_000})


def _docx_tables_in_tables() -> bytes:
    deep = 400
    return docx(
        b"<w:document " + _W + b"><w:body>" + b"<w:tbl><w:tr><w:tc>" * deep + b"<w:p/>"
        + b"</w:tc></w:tr></w:tbl>" * deep + b"</w:body></w:document>"
    )  # fmt: skip


def _docx_span() -> bytes:
    """A cell that spans two billion columns; the row is as long as it says."""
    cell = b'<w:tc><w:tcPr><w:gridSpan w:val="2000000000"/></w:tcPr><w:p/></w:tc>'
    return docx(b"<w:document " + _W + b"><w:body><w:tbl><w:tr>" + cell
                + b"</w:tr></w:tbl></w:body></w:document>")  # fmt: skip


def _docx_merged_up() -> bytes:
    cell = b"<w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p/></w:tc>"
    rows = (b"<w:tr>" + cell * 60 + b"</w:tr>") * 300
    return docx(b"<w:document " + _W + b"><w:body><w:tbl>" + rows
                + b"</w:tbl></w:body></w:document>")  # fmt: skip


def _docx_utf7() -> bytes:
    return docx(b'<?xml version="1.0" encoding="UTF-7"?>+ADw-w:document+AD4-')


def _docx_utf16() -> bytes:
    text = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/'
    return docx((text + 'passwd">]><d>&x;</d>').encode("utf-16"))


def _docx_relations() -> bytes:
    rel = (
        b'<Relationship Id="r%d" Type="t" Target="../../../../etc/passwd"/>'
        b'<Relationship Id="q%d" Type="t" TargetMode="External" Target="http://127.0.0.1:1/"/>'
    )
    body = b"".join(rel % (number, number) for number in range(2000))
    head = b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    return docx(b"<w:document " + _W + b"/>",
                **{"word/_rels/document.xml.rels": head + body + b"</Relationships>"})  # fmt: skip


def _zip_overlapping() -> bytes:
    """Every directory entry points at the same megabytes."""
    made = bytearray(docx(b"<w:document " + _W + b">" + b" " * (4 * MIB) + b"</w:document>"))
    end = made.rindex(b"PK\5\6")
    start = struct.unpack("<I", made[end + 16 : end + 20])[0]
    entry = bytes(made[start:end]).rindex(b"PK\1\2")
    one = bytes(made[start + entry : end])
    size = struct.unpack("<H", one[28:30])[0]
    entries = b"".join(
        one[:46] + (b"word/f%0*d" % (size - 6, n))[:size] + one[46 + size :] for n in range(15_000)
    )
    tail = bytearray(made[end:])
    tail[8:12] = struct.pack("<HH", 15_001, 15_001)
    tail[12:16] = struct.pack("<I", end - start + len(entries))
    return bytes(made[:end]) + entries + bytes(tail)


def _zip64_lies() -> bytes:
    """Sizes of the directory moved into zip64 fields that claim exabytes."""
    made = bytearray(docx(b"<w:document " + _W + b"/>"))
    at = made.rindex(b"PK\1\2")
    made[at + 20 : at + 28] = b"\xff" * 8
    extra = struct.pack("<HHQQ", 1, 16, 2**62, 2**62)
    name = struct.unpack("<H", made[at + 28 : at + 30])[0]
    made[at + 30 : at + 32] = struct.pack("<H", len(extra))
    made[at + 46 + name : at + 46 + name] = extra
    end = made.rindex(b"PK\5\6")
    size = struct.unpack("<I", made[end + 12 : end + 16])[0]
    made[end + 12 : end + 16] = struct.pack("<I", size + len(extra))
    return bytes(made)


def _zip_sizes_too_small() -> bytes:
    """The directory says ten bytes, the stream holds 200 MB."""
    made = bytearray(docx(b"<w:document " + _W + b">" + b" " * (200 * MIB)))
    for mark, offset in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        at = made.rindex(mark)
        made[at + offset : at + offset + 4] = struct.pack("<I", 10)
    return bytes(made)


def _zip_names() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("word/document.xml", b"x")
        for name in ("a\0b", "../../../etc/cron.d/x", "/abs", "C:\\x", "\u202e", "x" * 65_000):
            archive.writestr(name, b"x")
    return buffer.getvalue()


def _zip_twice_the_same() -> bytes:
    import warnings

    made = io.BytesIO(docx(b"<w:document " + _W + b"/>"))
    with warnings.catch_warnings(), zipfile.ZipFile(made, "a") as archive:
        warnings.simplefilter("ignore")
        for _ in range(2000):
            archive.writestr("word/document.xml", _LAUGHS + b"<d>&e9;</d>")
    return made.getvalue()


def _zip_other_methods() -> bytes:
    made = bytearray(docx(b"<w:document " + _W + b"/>"))
    for mark, offset in ((b"PK\1\2", 10), (b"PK\3\4", 8)):
        at = made.rindex(mark)
        made[at + offset : at + offset + 2] = struct.pack("<H", 99)
    return bytes(made)


def _ole_loop() -> bytes:
    head = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        + b"\0" * 16
        + struct.pack("<HHHHH", 62, 3, 0xFFFE, 9, 6)
    )
    return head + b"\0" * 478 + struct.pack("<I", 0) * 128 * 2000


def _rtf_deep() -> bytes:
    return b"{\\rtf1" + b"{" * 1_000_000


def _html_comment_open() -> bytes:
    return b"<html><body>" + b"<!--" * 300_000


def _html_declarations() -> bytes:
    return b"<html>" + b"<![if " * 300_000


def _html_charrefs() -> bytes:
    return b"<html><p>" + b"&#x110000;&#0;&ampamp;&" * 200_000


def _html_cut_tag() -> bytes:
    return b"<html><" + b"a " * 1_000_000


def _html_script_open() -> bytes:
    return b"<html><script>" + b"</scrip" * 500_000


def _html_quotes() -> bytes:
    return b"<html>" + b"<a b='" * 200_000


def _html_slashes() -> bytes:
    return b"<html><a " + b"/" * 1_000_000


def _html_utf7() -> bytes:
    return b'<html><meta charset="utf-7"><p>+ADw-script+AD4-alert(1)+ADw-/script+AD4-</p>'


def _html_charset_lies() -> bytes:
    return b'<html><meta charset="rot13; \0 zlib_codec"><p>caf\xe9 ' + b"x " * 2000


def _html_codec_that_is_none() -> bytes:
    return b'<html><meta charset="zlib_codec"><p>caf\xe9 ' + b"x " * 2000


def _text_utf16_halves() -> bytes:
    return b"\xff\xfe" + b"\x00\xd8" * 500_000 + b"\x41"


def _text_utf32() -> bytes:
    return "text in four bytes".encode("utf-32") * 1000


def _text_combining() -> bytes:
    return "e\u0301\u0316\u0317\u0318".encode() * 800_000


def _text_of_lines() -> bytes:
    return b"\n" * (20 * MIB)


def _text_escapes() -> bytes:
    return b"\x1b$B\x1b(B" * 500_000


def _json_numbers() -> bytes:
    return b"[" + b"9" * 2_000_000 + b",1e999999999,-1e-999999999]"


def _json_keys() -> bytes:
    return b"{" + b",".join(b'"k%d":{"a":[]}' % n for n in range(300_000)) + b"}"


def _csv_formulas() -> bytes:
    return b"=cmd|'/c calc'!A1,@SUM(1),+1,-1\n" * 100_000


def _xml_laughs() -> bytes:
    return _LAUGHS + b"<d>&e9;</d>"


def _gzip_bomb() -> bytes:
    import gzip

    return gzip.compress(b"\0" * 200 * MIB)


def _flate_in_text() -> bytes:
    return zlib.compress(b"a" * MIB)


def _nothing_but_nul() -> bytes:
    return b"\0" * (8 * MIB)


def _one_byte() -> bytes:
    return b"%"


MAKERS = {
    name.removeprefix("_"): make
    for name, make in list(globals().items())
    if name.startswith("_") and not name.startswith("__") and callable(make)
}
