"""Files made to hurt: small ones that unpack, loop, nest or lie. Nothing here is a virus.

`hostile_files()` gives name -> bytes, the same every time. Each is one known way to bring a
decoder down; together they are what the cage is for.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache

MIB = 1024 * 1024


def hostile_files() -> dict[str, bytes]:
    """The whole corpus; some seconds of work."""
    from tests.faults import hostile_documents, hostile_pdfs, hostile_pictures

    makers = {name.removeprefix("_"): make for name, make in _MAKERS.items()}
    for more in (hostile_documents, hostile_pdfs, hostile_pictures):
        makers |= {f"{more.__name__.rpartition('_')[2]}/{name}": make
                   for name, make in more.MAKERS.items()}  # fmt: skip
    return {name: make() for name, make in sorted(makers.items())}


def pdf(objects: list[bytes], root: int = 1) -> bytes:
    """A PDF of raw objects, numbered from 1."""
    out = io.BytesIO()
    out.write(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n" % number + body + b"\nendobj\n")
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % offset for offset in offsets)
    out.write(
        b"trailer << /Size %d /Root %d 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (len(objects) + 1, root, start)
    )
    return out.getvalue()


def stream(data: bytes, extra: bytes = b"") -> bytes:
    return b"<< /Length %d %s >>\nstream\n" % (len(data), extra) + data + b"\nendstream"


def page_pdf(content: bytes, *more: bytes, resources: bytes = b"", box=b"0 0 612 792") -> bytes:
    """One page with that content stream object; further objects start at number 5."""
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [%s] /Contents 4 0 R /Resources << %s >> >>"
            % (box, resources),
            content,
            *more,
        ]
    )


FONT = b"/Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>"


def deflated(unit: bytes, times: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """`zlib.compress(before + unit * times + after)` without packing the same for seconds."""
    each = max(1, min(times, MIB // len(unit)))
    chunks = ((before, 1), (unit * each, times // each), (unit * (times % each) + after, 1))
    packed, checksum = [b"\x78\xda"], 1
    for chunk, count in chunks:
        packer = zlib.compressobj(9, wbits=-15)
        # A full flush ends at a byte and forgets what was: the piece may be repeated.
        packed.append((packer.compress(chunk) + packer.flush(zlib.Z_FULL_FLUSH)) * count)
        for _ in range(count):
            checksum = zlib.adler32(chunk, checksum)
    return b"".join([*packed, b"\x03\0", struct.pack(">I", checksum)])


def _flate_bomb() -> bytes:
    line = b"(lorem ipsum dolor) Tj T* "
    packed = deflated(line, 6 * MIB, b"BT /F1 9 Tf 50 700 Td ", b"ET")
    return page_pdf(stream(packed, b"/Filter /FlateDecode"), resources=FONT)


def _double_flate() -> bytes:
    packed = zlib.compress(deflated(b"0 0 m ", 60 * MIB), 9)
    return page_pdf(stream(packed, b"/Filter [/FlateDecode /FlateDecode]"))


def _nested_forms() -> bytes:
    """Ten calls at each of nine levels: a billion drawings."""
    forms = []
    for level in range(9):
        inner = 6 + level
        body = b"/X Do " * 10 if level < 8 else b"0 0 m 10 10 l S "
        extra = b"/Type /XObject /Subtype /Form /BBox [0 0 600 700]"
        if level < 8:
            extra += b" /Resources << /XObject << /X %d 0 R >> >>" % inner
        forms.append(stream(body, extra))
    return page_pdf(stream(b"/X Do"), *forms, resources=b"/XObject << /X 5 0 R >>")


def _self_form() -> bytes:
    extra = (
        b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 5 0 R >> >>"
    )
    return page_pdf(
        stream(b"/X Do"), stream(b"/X Do /X Do", extra), resources=b"/XObject << /X 5 0 R >>"
    )


def _tiling_bomb() -> bytes:
    pattern = stream(
        b"0 0 0.01 0.01 re f 0 0 0.02 0.02 re S",
        b"/Type /Pattern /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 1 1] /XStep 0.003"
        b" /YStep 0.003 /Resources << >>",
    )
    content = stream(b"/Pattern cs /P scn 0 0 612 792 re f")
    return page_pdf(content, pattern, resources=b"/Pattern << /P 5 0 R >>")


def _two_billion_pages() -> bytes:
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 2000000000 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] >>",
        ]
    )


def _page_tree_loop() -> bytes:
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 4 >>",
        ]
    )


def _huge_media_box() -> bytes:
    return page_pdf(stream(b"0 0 1000000 1000000 re f"), box=b"0 0 1000000000 1000000000")


def _thousand_fonts_deep() -> bytes:
    return page_pdf(stream(b"q " * 3_000_000))


def _broken_images() -> bytes:
    image = stream(
        b"\x00" * 500,
        b"/Type /XObject /Subtype /Image /Width 60000 /Height 60000 /ColorSpace /DeviceRGB"
        b" /BitsPerComponent 8 /Filter /JPXDecode",
    )
    return page_pdf(
        stream(b"600 0 0 700 0 0 cm /I Do"), image, resources=b"/XObject << /I 5 0 R >>"
    )


def _jbig2_lie() -> bytes:
    image = stream(
        b"\x97JB2\r\n\x1a\n" + b"\xff" * 400,
        b"/Type /XObject /Subtype /Image /Width 30000 /Height 30000 /ColorSpace /DeviceGray"
        b" /BitsPerComponent 1 /Filter /JBIG2Decode",
    )
    return page_pdf(
        stream(b"600 0 0 700 0 0 cm /I Do"), image, resources=b"/XObject << /I 5 0 R >>"
    )


def _many_objects() -> bytes:
    return pdf(
        [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>"]
        + [b"[" * 400 + b"]" * 400] * 2000
    )


def _progressive_jpeg() -> bytes:
    """A large progressive JPEG whose refinement scans come a thousand times."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((6000, 6000)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    scan = data.rindex(b"\xff\xda")
    return data[:-2] + data[scan:-2] * 1000 + data[-2:]


def png(width: int, height: int, *chunks: tuple[bytes, bytes], rows: bytes = b"") -> bytes:
    out = bytearray(b"\x89PNG\r\n\x1a\n")
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    for kind, body in [(b"IHDR", header), *chunks, (b"IDAT", rows), (b"IEND", b"")]:
        out += struct.pack(">I", len(body)) + kind + body
        out += struct.pack(">I", zlib.crc32(kind + body))
    return bytes(out)


def _png_text_bomb() -> bytes:
    text = b"comment\0\1\0\0\0" + deflated(b"A", 200 * MIB)
    return png(8, 8, (b"iTXt", text), rows=zlib.compress(b"\0" * 72))


def _png_profile_bomb() -> bytes:
    profile = b"icc\0\0" + deflated(b"\0", 200 * MIB)
    return png(8, 8, (b"iCCP", profile), rows=zlib.compress(b"\0" * 72))


def _png_just_allowed() -> bytes:
    """49 million pixels in 50 kB: within the limit, and must still fit into memory."""
    return png(7000, 7000, rows=zlib.compress(b"\0" * (7001 * 7000), 9))


def _png_short_of_data() -> bytes:
    return png(5000, 5000, rows=zlib.compress(b"\0" * 100))


def _gif_giant_frames() -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x08\x01\x00\x00"
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", 65535, 65535, 0xF0, 0, 0)
        + b"\0" * 6
        + frame * 2000
        + b";"
    )


def _gif_many_frames() -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    header = b"GIF89a" + struct.pack("<HHBBB", 1000, 1000, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return header + frame * 500_000 + b";"


def tiff(entries: list[tuple[int, int, int, int]], following: int) -> bytes:
    body = struct.pack("<H", len(entries))
    for tag, kind, count, value in entries:
        body += struct.pack("<HHII", tag, kind, count, value)
    return b"II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", following)


_BASIC = [(256, 3, 1, 64), (257, 3, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
          (273, 4, 1, 200), (277, 3, 1, 1), (278, 3, 1, 64), (279, 4, 1, 4096)]  # fmt: skip


def _tiff_cycle() -> bytes:
    return tiff(_BASIC, 8) + b"\x80" * 5000


def _tiff_exif_cycle() -> bytes:
    return tiff([*_BASIC, (34665, 4, 1, 8), (34853, 4, 1, 8)], 0) + b"\x80" * 5000


def _tiff_lying_counts() -> bytes:
    return tiff([*_BASIC[:5], (273, 4, 0xFFFFFFF0, 8), (279, 4, 0xFFFFFFF0, 8)], 0) + b"\x80" * 999


def _bmp_giant() -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + header + b"\0" * 50


def _eps_in_png_clothes() -> bytes:
    return b"\x89PNG\r\n\x1a\n%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(id) system\n"


def _eps_plain() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nwhile {1} {1 1 add} repeat\n"


def _pdf_zip_polyglot() -> bytes:
    return _two_billion_pages() + _docx_bomb()


def _gif_html_polyglot() -> bytes:
    return b"GIF89a/*<html><script>alert(1)</script>*/=1;" + b"\0" * 300


def docx(document: bytes, **more: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/'
            'content-types"><Override PartName="/word/document.xml" ContentType="application/vnd.'
            'openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/'
            '2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/'
            'officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>'
            "</Relationships>",
        )
        archive.writestr("word/document.xml", document)
        for name, body in more.items():
            archive.writestr(name, body)
    return buffer.getvalue()


_W = b'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


@cache
def _docx_bomb() -> bytes:
    return docx(b"<w:document " + _W + b"><w:body>" + b"<w:p/>" * (40 * MIB))


def _docx_laughs() -> bytes:
    entities = b"".join(
        b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10 if n else b"ha" * 50) for n in range(10)
    )
    return docx(
        b'<?xml version="1.0"?><!DOCTYPE d [' + entities + b"]><w:document " + _W
        + b"><w:body><w:p><w:r><w:t>&e9;</w:t></w:r></w:p></w:body></w:document>"
    )  # fmt: skip


def _docx_external() -> bytes:
    return docx(
        b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><w:document '
        + _W + b"><w:body><w:p><w:r><w:t>&x;</w:t></w:r></w:p></w:body></w:document>"
    )  # fmt: skip


def _docx_deep() -> bytes:
    return docx(b"<w:document " + _W + b"><w:body>" + b"<w:tbl><w:tr><w:tc>" * 30_000)


def _xlsx_endless_sheet() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.active["A1"] = "x"
    buffer = io.BytesIO()
    book.save(buffer)
    out = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            body = old.read(name)
            if name.startswith("xl/worksheets/sheet"):
                body = body.replace(b'ref="A1"', b'ref="A1:XFD1048576"').replace(
                    b'<row r="1"', b'<row r="1048570"'
                )
            new.writestr(name, body)
    return out.getvalue()


def _json_deep() -> bytes:
    return b"[" * 2_000_000


def _html_deep() -> bytes:
    return b"<!doctype html>" + b"<div>" * 500_000 + b"deep"


def _html_attributes() -> bytes:
    return b"<html><p " + b"a=b " * 2_000_000 + b">x"


def _text_one_line() -> bytes:
    return b"a" * (20 * MIB)


def _text_odd_unicode() -> bytes:
    return "\u202e\ufeff\u0000\ud7ff\uffff".encode() * 100_000


def _charset_puzzle() -> bytes:
    return bytes(range(0x80, 0x100)) * 200 + b"plain ascii tail " * 20_000


def _svg() -> bytes:
    return b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'


def _heic_cut() -> bytes:
    return b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00heicmif1" + b"\x00\x00\xff\xffmeta" * 200


def _avif_cut() -> bytes:
    return b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf" + b"\xff" * 2000


def _webp_lie() -> bytes:
    return b"RIFF\xff\xff\xff\xffWEBPVP8L\xff\xff\xff\x7f/" + b"\xff" * 200


def _random_jpeg() -> bytes:
    import random

    return b"\xff\xd8\xff\xe0" + random.Random(4).randbytes(100_000)


def _exif_lie() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (40, 40)).save(buffer, "JPEG")
    exif = (
        b"Exif\0\0II*\0\x08\0\0\0" + b"\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff\x08\0\0\0" * 50
    )
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    return b"\xff\xd8" + segment + buffer.getvalue()[2:]


_MAKERS: dict[str, Callable[[], bytes]] = {
    name: make
    for name, make in list(globals().items())
    if name.startswith("_") and callable(make) and not name.startswith("__")
}
