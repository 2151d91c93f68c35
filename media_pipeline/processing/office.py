"""Office documents: Word, PowerPoint and Excel files of 2007 and later (docx, pptx, xlsx).

All are zip archives of XML, so an archive that would unpack to far more than it holds is
refused before a reader sees it. Older formats are not read; an encrypted document of the
newer ones comes in the older container and is told apart.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from media_pipeline.domain.outcome import Code
from media_pipeline.processing.media_type import OFFICE_BASE
from media_pipeline.processing.results import UnreadableMediaError, decoding

_MAX_ENTRIES = 20_000
_MAX_UNPACKED = 512 * 1024 * 1024
_MAX_RATIO = 200
#: Small archives may pack better than the ratio allows without doing harm.
_HARMLESS = 8 * 1024 * 1024
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_MAX_CELLS = 2_000_000


@dataclass(frozen=True, slots=True)
class OfficeDocument:
    """`parts`: text blocks of each page-like part, with its name: the whole of a Word
    document, a slide, a sheet."""

    parts: list[tuple[str, list[str]]]
    metadata: Mapping[str, object]


def read_office(data: bytes, mime: str, max_characters: int) -> OfficeDocument:
    """The document's text, at most about `max_characters`; UnreadableMediaError otherwise."""
    if mime == "application/x-ole-storage":
        if _ENCRYPTED_STREAM in data:
            raise UnreadableMediaError(Code.ENCRYPTED, "the document needs a password")
        raise UnreadableMediaError(Code.UNSUPPORTED, "no reader for documents of before 2007")
    if not mime.startswith(OFFICE_BASE):
        raise UnreadableMediaError(Code.UNSUPPORTED, f"no reader for {mime}")
    _require_sane(data)
    reader = {"wordprocessingml": _word, "presentationml": _slides, "spreadsheetml": _sheets}
    with decoding("the document is broken"):
        return reader[mime.removeprefix(OFFICE_BASE).split(".")[0]](data, max_characters)


def _require_sane(data: bytes) -> None:
    """Refuse archives that unpack to far more than they hold. Sizes in the directory may lie,
    but zipfile reads no further than they say."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise UnreadableMediaError(Code.INVALID, f"not a readable archive: {error}") from error
    unpacked = sum(entry.file_size for entry in entries)
    if len(entries) > _MAX_ENTRIES or unpacked > _MAX_UNPACKED:
        raise UnreadableMediaError(
            Code.TOO_LARGE, f"{len(entries)} entries unpack to {unpacked} bytes"
        )
    if unpacked > _HARMLESS and unpacked > _MAX_RATIO * len(data):
        raise UnreadableMediaError(
            Code.TOO_LARGE, f"{len(data)} bytes unpack to {unpacked}: a bomb"
        )
    if any(entry.flag_bits & 1 for entry in entries):
        raise UnreadableMediaError(Code.ENCRYPTED, "the archive needs a password")


def _word(data: bytes, max_characters: int) -> OfficeDocument:
    import docx

    document = docx.Document(io.BytesIO(data))
    blocks = list(_capped(_word_blocks(document), max_characters))
    return OfficeDocument([("document", blocks)], _properties(document.core_properties))


def _word_blocks(document: Any) -> Iterator[str]:
    for item in document.iter_inner_content():
        if hasattr(item, "rows"):
            for row in item.rows:
                yield "\t".join(cell.text.strip() for cell in row.cells)
        else:
            yield item.text


def _slides(data: bytes, max_characters: int) -> OfficeDocument:
    import pptx

    deck = pptx.Presentation(io.BytesIO(data))
    parts, left = [], max_characters
    for number, slide in enumerate(deck.slides, 1):
        blocks = list(_capped(_slide_blocks(slide), left))
        left -= sum(map(len, blocks))
        parts.append((f"slide {number}", blocks))
        if left <= 0:
            break
    return OfficeDocument(parts, _properties(deck.core_properties))


def _slide_blocks(slide: Any) -> Iterator[str]:
    # Top to bottom, then left to right: the order in the file is that of drawing.
    shapes = sorted(slide.shapes, key=lambda shape: (shape.top or 0, shape.left or 0))
    for shape in shapes:
        if shape.has_text_frame:
            yield shape.text_frame.text
        elif getattr(shape, "has_table", False):
            for row in shape.table.rows:
                yield "\t".join(cell.text.strip() for cell in row.cells)
    if slide.has_notes_slide:
        yield slide.notes_slide.notes_text_frame.text


def _sheets(data: bytes, max_characters: int) -> OfficeDocument:
    import openpyxl

    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    try:
        parts, left = [], max_characters
        for sheet in book.worksheets:
            blocks = list(_capped(_rows(sheet), left))
            left -= sum(map(len, blocks))
            parts.append((str(sheet.title), blocks))
            if left <= 0:
                break
        return OfficeDocument(parts, _properties(book.properties))
    finally:
        book.close()


def _rows(sheet: Any) -> Iterator[str]:
    cells = 0
    for row in sheet.iter_rows(values_only=True):
        cells += len(row)
        if cells > _MAX_CELLS:
            return  # a sheet may claim a million empty rows
        if any(value is not None for value in row):
            yield "\t".join("" if value is None else str(value) for value in row).rstrip()


def _capped(blocks: Iterator[str], max_characters: int) -> Iterator[str]:
    """Non-empty blocks; one more than fits is kept, so that a cut shows."""
    used = 0
    for block in blocks:
        if not block.strip():
            continue
        yield block[: max_characters + 1]
        used += len(block)
        if used > max_characters:
            return


def _properties(found: Any) -> dict[str, object]:
    picked = {
        "title": found.title,
        "author": getattr(found, "author", None) or getattr(found, "creator", None),
        "created": found.created,
        "modified": found.modified,
    }
    return {name: str(value)[:300] for name, value in picked.items() if value}
