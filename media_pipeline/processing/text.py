"""Text of a media asset: PDF pages in reading order, plain text, HTML, office documents.

Artifacts: `text.json.gz`, a gzip of
    {"schema": 1, "media_type": str, "metadata": {...}, "truncated": bool,
     "language": {"code": ISO 639-1, "probability": 0..1} or null,
     "pages": [{"number": 1.., "class": "text|little|scan|garbled|blank", "name"?: str,
                "blocks": [{"bbox"?: [x0, y0, x1, y1] in points, "text": str}]}]}
and `text.txt`, UTF-8. Only PDF blocks have a bbox; plain text, HTML and Word documents have
one page, slides and sheets one each, with a name. The attribute `ocr_pages` lists the PDF
pages that want OCR.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from media_pipeline.domain.outcome import Artifact, Code, ProcessorResult
from media_pipeline.processing.json_artifact import packed_json
from media_pipeline.processing.language import guess_language
from media_pipeline.processing.media_type import MediaType
from media_pipeline.processing.office import read_office
from media_pipeline.processing.pdf import open_pdf, pdf_metadata, read_page
from media_pipeline.processing.results import UnreadableMediaError, decoding, ended, types_of

VERSION = "2"
#: Page classes whose text is a picture, or rubbish.
WANTS_OCR = frozenset({"scan", "garbled"})
_MAX_OCR_PAGES = 500
_TITLE_LENGTH = 300


@dataclass(frozen=True, slots=True)
class TextLimits:
    """Caps of one media asset; what lies beyond is left out and said so."""

    max_pages: int = 2000
    max_characters: int = 10_000_000


def extract_text(data: bytes, media_type: MediaType, limits: TextLimits) -> ProcessorResult:
    """The text of `data`, or a named outcome without artifacts."""
    if not data:
        return ended(Code.EMPTY, "the file has zero bytes", media_type)
    try:
        if media_type.family == "pdf":
            return _from_pdf(data, media_type, limits)
        if media_type.family == "office":
            return _from_office(data, media_type, limits)
        if media_type.family in ("text", "html"):
            read = _from_html if media_type.family == "html" else _from_plain
            return read(_decode(data), media_type, limits)
    except UnreadableMediaError as error:
        return ended(error.code, str(error), media_type)
    if media_type.family == "image":
        return ended(Code.NOT_APPLICABLE, "an image has no text layer", media_type)
    return ended(Code.UNSUPPORTED, f"no reader for {media_type.mime}", media_type)


def _from_pdf(data: bytes, media_type: MediaType, limits: TextLimits) -> ProcessorResult:
    pages: list[dict[str, Any]] = []
    characters, truncated, broken = 0, False, 0
    failed: UnreadableMediaError | None = None
    with open_pdf(data) as document:
        metadata = pdf_metadata(document)
        for number in range(min(document.page_count, limits.max_pages)):
            try:
                kind, blocks = read_page(document, number)
            except UnreadableMediaError as error:
                # One broken page is no reason to lose the others.
                broken += 1
                failed = failed or error
                continue
            listed = []
            for box, text in blocks:
                characters += len(text)
                truncated = characters > limits.max_characters
                if truncated:
                    break
                listed.append({"bbox": box, "text": text})
            pages.append({"number": number + 1, "class": kind, "blocks": listed})
            if truncated:
                break
        total = document.page_count
    if not pages and failed:
        message = f"none of {total} pages could be read; the first: {failed}"
        raise UnreadableMediaError(failed.code, message)
    truncated = truncated or total > limits.max_pages
    unread = [page["number"] for page in pages if page["class"] in WANTS_OCR]
    more: dict[str, object] = {
        "pages": total,
        "broken_pages": broken or None,
        "ocr_pages": unread[:_MAX_OCR_PAGES] or None,
        **metadata,
    }
    return _result(pages, media_type, metadata, truncated, more)


def _from_office(data: bytes, media_type: MediaType, limits: TextLimits) -> ProcessorResult:
    document = read_office(data, media_type.mime, limits.max_characters)
    pages, left = [], limits.max_characters
    for number, (name, blocks) in enumerate(document.parts[: limits.max_pages], 1):
        kept = []
        for block in blocks:
            kept.append({"text": block[: max(0, left)]})
            left -= len(block)
        kind = "text" if kept else "blank"
        pages.append({"number": number, "name": name, "class": kind, "blocks": kept})
    truncated = left < 0 or len(document.parts) > limits.max_pages
    more = {"pages": len(document.parts), **document.metadata}
    return _result(pages, media_type, document.metadata, truncated, more)


def _from_plain(
    text: str, media_type: MediaType, limits: TextLimits, title: str = ""
) -> ProcessorResult:
    metadata = {"title": title} if title else {}
    kept = text[: limits.max_characters]
    kind = "text" if kept.strip() else "blank"
    pages = [{"number": 1, "class": kind, "blocks": [{"text": kept}] if kept.strip() else []}]
    return _result(pages, media_type, metadata, len(kept) < len(text), {"pages": 1, **metadata})


def _from_html(markup: str, media_type: MediaType, limits: TextLimits) -> ProcessorResult:
    parser = _Visible()
    with decoding("the HTML cannot be parsed"):
        parser.feed(markup)
        parser.close()
    return _from_plain(parser.text(), media_type, limits, parser.title.strip()[:_TITLE_LENGTH])


def _decode(data: bytes) -> str:
    """Text of unknown charset: marks first, then UTF-8, then a statistical guess."""
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        from charset_normalizer import from_bytes

        best = from_bytes(data[:65536]).best()
        return data.decode(best.encoding if best else "cp1252", "replace")


def _result(
    pages: list[dict[str, Any]],
    media_type: MediaType,
    metadata: Mapping[str, object],
    truncated: bool,
    more: Mapping[str, object],
) -> ProcessorResult:
    text = "\n\n".join("\n".join(block["text"] for block in page["blocks"]) for page in pages)
    language = guess_language(text)
    document = {
        "schema": 1,
        "media_type": media_type.mime,
        "language": language,
        "metadata": metadata,
        "truncated": truncated,
        "pages": pages,
    }
    attributes = {
        **types_of(media_type),
        **{name: value for name, value in more.items() if value is not None},
        "characters": len(text),
        **({"language": language["code"]} if language else {}),
        "page_classes": dict(sorted(Counter(page["class"] for page in pages).items())),
        "truncated": truncated,
    }
    return ProcessorResult(
        Code.OK,
        artifacts=(
            Artifact("text.json.gz", "application/gzip", packed_json(document)),
            Artifact("text.txt", "text/plain; charset=utf-8", text.encode("utf-8", "replace")),
        ),
        attributes=attributes,
    )


class _Visible(HTMLParser):
    """Collects what a reader would see; block elements end a line."""

    _HIDDEN = frozenset({"script", "style", "template", "noscript", "svg"})
    _BLOCKS = frozenset(
        {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article"}
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self._parts: list[str] = []
        self._hidden = 0
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in self._HIDDEN:
            self._hidden += 1
        elif tag == "title":
            self._in_title = True
        elif tag in self._BLOCKS:
            self._parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag == "title":
            self._in_title = False
        elif tag in self._BLOCKS:
            self._parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._hidden:
            self._parts.append(data)

    def text(self) -> str:
        """Lines without surrounding blanks, empty ones left out."""
        lines = (" ".join(line.split()) for line in "".join(self._parts).splitlines())
        return "\n".join(line for line in lines if line)
