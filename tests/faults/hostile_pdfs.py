"""PDFs made to hurt, beyond the classics of `hostile_media`: filters, trees, forms, scripts."""

from __future__ import annotations

import struct
import zlib

from tests.faults.hostile_media import FONT, MIB, deflated, page_pdf, pdf, stream

_SHOW = b"600 0 0 700 0 0 cm /I Do"
_CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"


def picture_pdf(
    data: bytes, filters: bytes, *, width=30000, height=30000, bits=1, more=b""
) -> bytes:
    extra = (
        b"/Type /XObject /Subtype /Image /Width %d /Height %d /BitsPerComponent %d /Filter %s "
        % (width, height, bits, filters)
    )
    colour = b"" if b"/ColorSpace" in more or b"/ImageMask" in more else b"/ColorSpace /DeviceGray "
    return page_pdf(
        stream(_SHOW), stream(data, extra + colour + more), resources=b"/XObject << /I 5 0 R >>"
    )


def _ccitt_of_nothing() -> bytes:
    parms = b"/DecodeParms << /K -1 /Columns 30000 /Rows 30000 >>"
    return picture_pdf(b"\x00\x10\x01" * 50, b"/CCITTFaxDecode", more=parms)


def _ccitt_giant_columns() -> bytes:
    parms = b"/DecodeParms << /K 0 /Columns 2147483647 /Rows 2147483647 >>"
    return picture_pdf(b"\xff" * 900, b"/CCITTFaxDecode", more=parms)


def _jbig2_giant_page() -> bytes:
    page_info = struct.pack(">IBBI", 0, 48, 1, 19) + struct.pack(
        ">IIIIBH", 0xFFFFFFF0, 0xFFFFFFF0, 0, 0, 0, 0
    )
    return picture_pdf(page_info, b"/JBIG2Decode")


def _jbig2_large_page() -> bytes:
    """30,000 x 30,000 bits, then a region that covers it all and has no data."""
    info = struct.pack(">IBBI", 0, 48, 1, 19) + struct.pack(">IIIIBH", 30000, 30000, 0, 0, 0, 0)
    region = struct.pack(">IIIIB", 30000, 30000, 0, 0, 0) + b"\x00\x03\xff\xfd\xff\x02\xfe\xfe\xfe"
    generic = struct.pack(">IBBI", 1, 38, 1, len(region) + 40) + region + b"\x55" * 40
    return picture_pdf(info + generic, b"/JBIG2Decode")


def _jpx_giant() -> bytes:
    siz = struct.pack(">HHIIIIIIIIH", 41, 0, 60000, 60000, 0, 0, 1, 1, 0, 0, 1) + b"\x07\x01\x01"
    return picture_pdf(b"\xff\x4f\xff\x51" + siz + b"\xff\x90" + b"\0" * 300, b"/JPXDecode", bits=8)


def _dct_lies() -> bytes:
    sof = b"\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\0\x02\x11\x01\x03\x11\x01"
    return picture_pdf(b"\xff\xd8" + sof + b"\xff\xda" + b"\0" * 900, b"/DCTDecode", bits=8)


def _filter_chain() -> bytes:
    return picture_pdf(b"x", b"[" + b"/ASCIIHexDecode " * 50_000 + b"]", width=8, height=8)


def _run_length_bomb() -> bytes:
    packed = zlib.compress(b"\x81\x00" * (8 * MIB), 9)
    return picture_pdf(packed, b"[/FlateDecode /RunLengthDecode]", bits=8)


def _lzw_of_noise() -> bytes:
    return picture_pdf(b"\x80\x0b\x60\x50\x22\x0c\x0c\x85\x01" * 9000, b"/LZWDecode", bits=8)


def _predictor_giant() -> bytes:
    parms = b"/DecodeParms << /Predictor 15 /Columns 2147483000 /Colors 32 /BitsPerComponent 16 >>"
    return picture_pdf(zlib.compress(b"\2" * MIB), b"/FlateDecode", more=parms)


def _indexed_loop() -> bytes:
    return picture_pdf(b"\0" * 64, b"/ASCIIHexDecode", width=8, height=8, bits=8,
                    more=b"/ColorSpace [/Indexed 6 0 R 255 6 0 R]")  # fmt: skip


def _soft_mask_of_itself() -> bytes:
    more = b"/SMask 5 0 R /Mask 5 0 R"
    return picture_pdf(b"\0" * 64, b"/ASCIIHexDecode", width=8, height=8, bits=8, more=more)


def _icc_bomb() -> bytes:
    profile = stream(deflated(b"\0", 300 * MIB), b"/N 3 /Filter /FlateDecode")
    image = stream(b"\x80" * 192, b"/Type /XObject /Subtype /Image /Width 8 /Height 8"
                   b" /BitsPerComponent 8 /ColorSpace [/ICCBased 6 0 R]")  # fmt: skip
    return page_pdf(stream(_SHOW), image, profile, resources=b"/XObject << /I 5 0 R >>")


def _annotations() -> bytes:
    """A hundred thousand notes with appearances that share one form."""
    form = stream(b"0 0 9 9 re f", b"/Type /XObject /Subtype /Form /BBox [0 0 9 9]")
    note = (b"<< /Type /Annot /Subtype /Text /Rect [%d %d %d %d] /Contents (note)"
            b" /AP << /N 4 0 R >> >>")  # fmt: skip
    notes = b" ".join(
        note % (n % 600, n % 700, n % 600 + 9, n % 700 + 9) for n in range(100_000)
    )  # fmt: skip
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Annots [%s] >>" % notes
    return pdf([_CATALOG, b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>", page, form])


def _form_fields_loop() -> bytes:
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [4 0 R] /XFA 5 0 R >> >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Annots [4 0 R] >>",
            (
                b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (a) /V (v) /Parent 4 0 R"
                b" /Kids [4 0 R] /Rect [0 0 50 50] /DA (/F1 9 Tf) >>"
            ),
            stream(b"<xdp>" + b"<subform>" * 200_000),
        ]
    )


def _scripts_everywhere() -> bytes:
    script = b"<< /S /JavaScript /JS (while (true) { app.alert(1); }) >>"
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R /OpenAction %s /AA << /WC %s /WS %s >> /Names"
            b" << /JavaScript << /Names [(a) %s] >> >> >>" % (script, script, script, script),
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /AA << /O %s >> >>" % script,
        ]
    )


def _launches_a_program() -> bytes:
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /Launch /F (/bin/sh) >> >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            (
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Contents <<"
                b" /F (/etc/passwd) /Length 0 >> >>"
            ),
        ]
    )


def _xref_loop() -> bytes:
    body = pdf([_CATALOG, b"<< /Type /Pages /Kids [] /Count 1 >>"])
    start = body.rindex(b"xref\n0 ")
    return body.replace(b"/Root 1 0 R", b"/Root 1 0 R /Prev %d" % start)


def _xref_stream_of_itself() -> bytes:
    out = b"%PDF-1.7\n"
    return out + b"1 0 obj\n" + stream(
        zlib.compress(b"\x02\x00\x01\x00" * 100_000, 9),
        b"/Type /XRef /Size 2147483000 /W [1 2 1] /Index [0 2147483000] /Root 1 0 R /Prev 9"
        b" /Filter /FlateDecode",
    ) + b"\nendobj\nstartxref\n9\n%%EOF"  # fmt: skip


def _object_stream_in_itself() -> bytes:
    inner = b"4 0 5 4 <</A 5 0 R>> <</B 4 0 R>>"
    return pdf(
        [
            _CATALOG,
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Contents 4 0 R >>",
            stream(inner, b"/Type /ObjStm /N 2147483647 /First 2147483647 /Extends 4 0 R"),
        ]
    )


def _length_of_itself() -> bytes:
    return page_pdf(b"<< /Length 4 0 R >>\nstream\nq Q\nendstream")


def _references_in_circles() -> bytes:
    return pdf([b"2 0 R", b"3 0 R", b"1 0 R"] + [b"%d 0 R" % (n % 400 + 1) for n in range(400)])


def _page_tree_deep() -> bytes:
    """Fifty thousand nodes, each the only child of the one before."""
    nodes = [b"<< /Type /Pages /Kids [%d 0 R] /Count 1 >>" % (n + 3) for n in range(50_000)]
    leaf = b"<< /Type /Page /Parent 50001 0 R /MediaBox [0 0 100 100] >>"
    return pdf([_CATALOG, *nodes, leaf])


def _outline_loop() -> bytes:
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R /Outlines 4 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] >>",
            b"<< /Title (x) /Next 4 0 R /First 4 0 R /Prev 4 0 R /Parent 4 0 R >>",
        ]
    )


def _name_tree_loop() -> bytes:
    names = b"/Names << /EmbeddedFiles 4 0 R /Dests 4 0 R >>"
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R %s >>" % names,
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] >>",
            b"<< /Kids [4 0 R 4 0 R 4 0 R] /Names [(a) 4 0 R] >>",
        ]
    )


def _poisoned_title() -> bytes:
    body = pdf([_CATALOG, b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] >>",
                (b"<< /Title <feff0000d8000041> /Author (\\000\\377\x80'; drop table x;--)"
                b" /CreationDate (D:99999999999999) >>")])  # fmt: skip
    return body.replace(b"/Root 1 0 R", b"/Root 1 0 R /Info 4 0 R")


def _odd_boxes() -> bytes:
    content = stream(b"BT /F1 9 Tf 1e38 1e38 Td (far) Tj 1e-30 0 0 1e-30 0 0 Tm (small) Tj ET")
    return page_pdf(content, resources=FONT, box=b"1e38 -1e38 -1e38 1e39")


def _no_area() -> bytes:
    return page_pdf(stream(b"0 0 1 1 re f"), resources=FONT, box=b"5 5 5 5")


def _thin_page() -> bytes:
    return page_pdf(stream(b"0 0 1 1 re f"), resources=FONT, box=b"0 0 100000000 0.0001")


def _shading_mesh() -> bytes:
    """A free-form triangle mesh of a million points."""
    points = b"".join(struct.pack(">BHHB", 0, n * 7919 % 65536, n * 104729 % 65536, n % 256)
                      for n in range(300_000))  # fmt: skip
    mesh = stream(
        zlib.compress(points, 1),
        b"/ShadingType 4 /ColorSpace /DeviceGray /BitsPerCoordinate 16 /BitsPerComponent 8"
        b" /BitsPerFlag 8 /Decode [0 612 0 792 0 1] /Filter /FlateDecode",
    )
    return page_pdf(stream(b"/S sh"), mesh, resources=b"/Shading << /S 5 0 R >>")


def _function_deep() -> bytes:
    code = b"{ " * 30_000 + b"} " * 30_000
    calculator = stream(code, b"/FunctionType 4 /Domain [0 1] /Range [0 1]")
    return page_pdf(
        stream(b"/S sh"),
        b"<< /ShadingType 2 /ColorSpace /DeviceGray /Coords [0 0 612 0] /Function 6 0 R >>",
        calculator, resources=b"/Shading << /S 5 0 R >>",
    )  # fmt: skip


def _font_loop() -> bytes:
    """A Type 3 font whose letters show text in the same font."""
    glyph = stream(b"1000 0 d0 BT /F1 1 Tf (aaaa) Tj ET")
    font = (
        b"<< /Type /Font /Subtype /Type3 /FontBBox [0 0 9 9] /FontMatrix [1 0 0 1 0 0]"
        b" /FirstChar 97 /LastChar 97 /Widths [1] /CharProcs << /a 6 0 R >> /Encoding"
        b" << /Differences [97 /a] >> /Resources << /Font << /F1 5 0 R >> >> >>"
    )
    return page_pdf(stream(b"BT /F1 9 Tf 50 50 Td (aaaa) Tj ET"), font, glyph,
                    resources=b"/Font << /F1 5 0 R >>")  # fmt: skip


def _font_file_of_noise() -> bytes:
    import random

    program = stream(b"\0\1\0\0\0\x20" + random.Random(8).randbytes(60_000))
    font = (b"<< /Type /Font /Subtype /TrueType /BaseFont /X /FontDescriptor << /Type"
            b" /FontDescriptor /FontName /X /Flags 4 /FontFile2 6 0 R >> >>")  # fmt: skip
    return page_pdf(stream(b"BT /F1 9 Tf 50 50 Td (aaaa) Tj ET"), font, program,
                    resources=b"/Font << /F1 5 0 R >>")  # fmt: skip


def _to_unicode_bomb() -> bytes:
    ranges = (
        b"1 begincodespacerange <0000> <ffff> endcodespacerange\n"
        + (b"100 beginbfrange\n" + b"<0000> <ffff> <0041>\n" * 100 + b"endbfrange\n") * 3000
    )
    cmap = stream(zlib.compress(ranges, 9), b"/Filter /FlateDecode")
    font = (b"<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H /ToUnicode 6 0 R"
            b" /DescendantFonts [<< /Type /Font /Subtype /CIDFontType2 /BaseFont /X"
            b" /CIDSystemInfo << /Registry (A) /Ordering (I) /Supplement 0 >> >>] >>")  # fmt: skip
    return page_pdf(stream(b"BT /F1 9 Tf 50 50 Td <00410042> Tj ET"), font, cmap,
                    resources=b"/Font << /F1 5 0 R >>")  # fmt: skip


def _clips_deep() -> bytes:
    return page_pdf(stream(b"q 0 0 600 700 re W n " * 200_000 + b"0 0 9 9 re f"))


def _groups_deep() -> bytes:
    forms = [
        stream(b"/X Do", b"/Type /XObject /Subtype /Form /BBox [0 0 600 700] /Group << /S"
               b" /Transparency /I true >> /Resources << /XObject << /X %d 0 R >> >>" % (6 + level))
        for level in range(3000)
    ]  # fmt: skip
    return page_pdf(stream(b"/X Do"), *forms, resources=b"/XObject << /X 5 0 R >>")


def _dash_bomb() -> bytes:
    return page_pdf(stream(b"[0.0001 0.0001] 0 d 0.01 w 0 0 m 600 700 l S " * 200))


def _arrays_deep() -> bytes:
    return page_pdf(b"[" * 500_000 + b"]" * 500_000)


def _inline_images() -> bytes:
    one = b"q BI /W 9000 /H 9000 /BPC 1 /CS /G /F /AHx ID 00> EI Q "
    return page_pdf(stream(one * 3000))


MAKERS = {
    name.removeprefix("_"): make
    for name, make in list(globals().items())
    if name.startswith("_") and not name.startswith("__") and callable(make)
}
