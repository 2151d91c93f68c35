"""What a file is, from its own bytes; what the producer declared is only noted beside it."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import Literal

Family = Literal["pdf", "image", "text", "html", "office", "other"]

OFFICE_BASE = "application/vnd.openxmlformats-officedocument."
_MAX_ARCHIVE_ENTRIES = 20_000

#: (offset, magic, type). First match wins.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"BM", "image/bmp"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypavis", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypheix", "image/heic"),
    (4, b"ftypmif1", "image/heic"),
    (4, b"ftyphevc", "image/heic"),
    (4, b"ftypmsf1", "image/heic"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"%!PS", "application/postscript"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"\x1f\x8b", "application/gzip"),
    (4, b"ftyp", "video/mp4"),
)
#: Readers accept a header within the first kilobyte (PDF 1.7, implementation note 13).
_PDF_WINDOW = 1024
_SAMPLE = 64 * 1024
_UTF8_LONGEST = 4
#: Declared types that plain text may carry further than `text/plain`.
_TEXT_TYPES = {
    "text/csv", "text/markdown", "text/tab-separated-values", "application/json",
    "application/x-ndjson", "application/xml", "text/xml", "application/yaml",
}  # fmt: skip
_HTML_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body")
_CONTROL = bytes(set(range(32)) - {9, 10, 12, 13, 27})
_MAX_CONTROL_SHARE = 0.02
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class MediaType:
    """`mime` is what the bytes are; `declared` what the producer said, for the record."""

    mime: str
    family: Family
    declared: str | None
    agrees: bool


def sniff(data: bytes, declared: str | None = None) -> MediaType:
    """The type of `data`. The sniffed type wins; a declared text subtype refines plain text."""
    said = (declared or "").split(";")[0].strip().lower() or None
    mime = _by_magic(data) or _by_text(data, said) or "application/octet-stream"
    agrees = said in (None, mime, "application/octet-stream") or _aliases(said) == mime
    return MediaType(mime, _family(mime), said, agrees)


def _by_magic(data: bytes) -> str | None:
    if b"%PDF-" in data[:_PDF_WINDOW]:
        return "application/pdf"
    for offset, magic, mime in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            if mime == "image/webp" and data[:4] != b"RIFF":
                continue
            return _office_type(data) or mime if mime == "application/zip" else mime
    return None


def _office_type(data: bytes) -> str | None:
    """The media type of an office archive by what it holds; None for any other archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = {info.filename for info in archive.infolist()[:_MAX_ARCHIVE_ENTRIES]}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
        return None
    for part, kind in (
        ("word/document.xml", "wordprocessingml.document"),
        ("ppt/presentation.xml", "presentationml.presentation"),
        ("xl/workbook.xml", "spreadsheetml.sheet"),
    ):
        if part in names:
            return OFFICE_BASE + kind
    return None


def _by_text(data: bytes, declared: str | None) -> str | None:
    if not data or not _looks_like_text(data[:_SAMPLE]):
        return None
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(_HTML_STARTS):
        return "text/html"
    if declared in _TEXT_TYPES:
        return declared
    if head[:1] in (b"{", b"[") and _is_json(data):
        return "application/json"
    return "text/plain"


def _looks_like_text(sample: bytes) -> bool:
    """UTF-16 by its mark, UTF-8 by its form, other charsets by having no control bytes."""
    if sample.startswith(_BOMS):
        return True
    if b"\x00" in sample:
        return False
    try:
        # A character cut in two by the end of the sample says nothing about the rest.
        sample.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(sample) - _UTF8_LONGEST:
            return _few_control(sample) and _mostly_letters(sample)
    return _few_control(sample)


def _few_control(sample: bytes) -> bool:
    controls = len(sample) - len(sample.translate(None, _CONTROL))
    return controls <= len(sample) * _MAX_CONTROL_SHARE


def _mostly_letters(sample: bytes) -> bool:
    """Legacy charsets are mostly ASCII with some high bytes; compressed data is neither."""
    high = sum(byte >= 0x80 for byte in sample)  # noqa: PLR2004  # first byte beyond ASCII
    return high <= len(sample) * 0.4


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _family(mime: str) -> Family:
    if mime == "application/pdf":
        return "pdf"
    if mime.startswith("image/"):
        return "image"
    if mime == "text/html":
        return "html"
    if mime.startswith("text/") or mime in _TEXT_TYPES:
        return "text"
    if "officedocument" in mime or mime in ("application/x-ole-storage", "application/rtf"):
        return "office"
    return "other"


def _aliases(mime: str) -> str:
    return {"image/jpg": "image/jpeg", "application/x-pdf": "application/pdf"}.get(mime, mime)
