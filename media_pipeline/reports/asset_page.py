"""One media asset as a page: where it came from, what was made of it, how it was judged.

Pictures that moderation did not allow are left out unless they are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from media_pipeline.domain.operations import AssetVersion, EndedAsset
from media_pipeline.domain.outcome import Derivative
from media_pipeline.reports.page import (
    Markup,
    element,
    facts,
    joined,
    link,
    page,
    picture,
    table,
)

_UNSURE = 60.0
_SHOWN_CHARACTERS = 20_000
_SHOWN_PAGES = 5
_SHOWN_WORDS = 3000


@dataclass(frozen=True, slots=True)
class Picture:
    """A stored picture with its bytes."""

    name: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class AssetFile:
    """Everything about one media asset. `links`: object key -> address; `runs`: address of a run
    by id; `ocr`: the document that `media_pipeline.assets.ocr` describes, None without one."""

    versions: Sequence[AssetVersion]
    derivatives: Sequence[Derivative]
    links: Mapping[str, str] = field(default_factory=dict)
    dagster_url: str = ""
    thumbnails: Sequence[Picture] = ()
    text: str = ""
    ocr: Mapping[str, Any] | None = None
    problems: Sequence[str] = ()


def asset_page(file: AssetFile, *, show_pictures: bool = False) -> str:
    """The whole page of a media asset that the ledger knows."""
    newest = file.versions[0]
    hidden = not show_pictures and _verdict(file.derivatives) not in (None, "allow")
    parts: list[object] = [
        element("p", _answer(newest), class_=f"answer {_LEVELS.get(newest.status, 'unknown')}"),
        *(element("p", problem, class_="quiet") for problem in file.problems),
        element("h2", "Source"),
        _source(newest),
        element("h2", "Thumbnails"),
        _thumbnails(file, hidden),
        element("h2", "Verdict"),
        _moderation(file.derivatives),
        element("h2", "Text"),
        _text(file.text),
        element("h2", "OCR"),
        _ocr(file, hidden),
        element("h2", "What was made, and by what"),
        _derivatives(file),
        element("h2", "History"),
        _history(file),
    ]
    return page(f"Media asset {newest.asset_id}", parts)


def list_page(ended: Sequence[EndedAsset]) -> str:
    """The media assets that ended last; their links are beside this page."""
    rows = [
        (
            # An id has no character that an address or HTML minds; escaped all the same.
            element("a", one.asset_id, href=f"media/{one.asset_id}"),
            (one.status, _LEVELS.get(one.status, "unknown")),
            one.code,
            one.finished_at,
        )
        for one in ended
    ]
    return page("Media assets, last ended first", [table(("media asset", "", "", "ended"), rows)])


def unknown_page(asset_id: str) -> str:
    """Nothing is known."""
    return page("No such media asset", [element("p", f"The ledger does not know {asset_id}.")])


_LEVELS = {"complete": "ok", "partial": "warn", "dead_lettered": "fail"}


def _answer(newest: AssetVersion) -> str:
    reason = f" by {newest.stage}: {newest.code}. {newest.message or ''}" if newest.code else "."
    return f"{newest.status}{reason}"


def _source(newest: AssetVersion) -> Markup:
    return facts(
        {
            "content version": newest.content_version,
            "object": f"{newest.bucket}/{newest.object_key}",
            "announced type": newest.content_type,
            "bytes": newest.size_bytes,
            "sha256": newest.content_digest,
            "lane": newest.priority,
        }
    )


def _thumbnails(file: AssetFile, hidden: bool) -> Markup:
    if hidden:
        return element("p", "Not shown: moderation did not allow it.", class_="quiet")
    shown = [
        picture(one.data, one.content_type, f"{one.name}, {len(one.data)} bytes")
        for one in file.thumbnails
    ]
    if not shown:
        return element("p", "none", class_="quiet")
    return element("div", joined(shown), class_="pictures")


def _verdict(rows: Sequence[Derivative]) -> str | None:
    for row in rows:
        if row.kind == "moderation" and "verdict" in row.attributes:
            return str(row.attributes["verdict"])
    return None


def _moderation(rows: Sequence[Derivative]) -> Markup:
    for row in rows:
        if row.kind == "moderation" and "verdict" in row.attributes:
            scores = row.attributes.get("scores")
            named = dict(scores) if isinstance(scores, Mapping) else {}
            return facts(
                {"verdict": row.attributes["verdict"], **named, "by": row.attributes.get("model")}
            )
    return element("p", "none", class_="quiet")


def _text(text: str) -> Markup:
    if not text:
        return element("p", "none", class_="quiet")
    cut = "" if len(text) <= _SHOWN_CHARACTERS else f"\n... {len(text)} characters in all"
    return element("pre", text[:_SHOWN_CHARACTERS] + cut)


def _ocr(file: AssetFile, hidden: bool) -> Markup:
    if file.ocr is None:
        return element("p", "none", class_="quiet")
    shown: list[object] = []
    pages = file.ocr.get("pages", [])
    for one in pages[:_SHOWN_PAGES]:
        said = f"page {one['number']}, confidence {one['confidence']}"
        shown.append(element("h3", said))
        shown.append(_overlay(one, None if hidden else _background(file, one)))
    if len(pages) > _SHOWN_PAGES:
        shown.append(element("p", f"{len(pages) - _SHOWN_PAGES} more pages", class_="quiet"))
    return joined(shown)


def _background(file: AssetFile, page_: Mapping[str, Any]) -> Picture | None:
    """The largest thumbnail, where it is that page, the same way up."""
    if page_["number"] != 1 or page_.get("rotation") or not file.thumbnails:
        return None
    return max(file.thumbnails, key=lambda one: len(one.data))


def _overlay(page_: Mapping[str, Any], background: Picture | None) -> Markup:
    """Boxes of words over the page, each with its text and confidence when pointed at."""
    import base64

    width, height = int(page_["width"]), int(page_["height"])
    drawn = []
    if background is not None:
        packed = base64.b64encode(background.data).decode()
        drawn.append(
            f'<image width="{width}" height="{height}" preserveAspectRatio="none"'
            f' href="data:{escape(background.content_type)};base64,{packed}"/>'
        )
    for left, top, wide, high, confidence, word in page_["words"][:_SHOWN_WORDS]:
        sure = "word" if float(confidence) >= _UNSURE else "word unsure"
        title = escape(f"{word} ({confidence})")
        box = f'x="{int(left)}" y="{int(top)}" width="{int(wide)}" height="{int(high)}"'
        drawn.append(f'<rect class="{sure}" {box}><title>{title}</title></rect>')
    return Markup(
        f'<figure><svg role="img" aria-label="words on the page" width="{min(width, 900)}"'
        f' viewBox="0 0 {width} {height}">{"".join(drawn)}</svg></figure>'
    )


def _derivatives(file: AssetFile) -> Markup:
    rows = []
    for row in file.derivatives:
        objects = joined(
            element("div", link(file.links.get(part.object_key, ""), part.object_key))
            for part in row.artifacts
        )
        found = json.dumps(dict(row.attributes), ensure_ascii=False, default=str)[:600]
        rows.append(
            (
                row.kind, str(row.code), element("code", row.fingerprint), f"{row.seconds:.3f}",
                objects, element("code", found), row.message,
            )
        )  # fmt: skip
    return table(("kind", "outcome", "fingerprint", "seconds", "objects", "found", "reason"), rows)


def _history(file: AssetFile) -> Markup:
    rows = []
    for one in file.versions:
        run = link(f"{file.dagster_url}/runs/{one.run_id}", one.run_id) if one.run_id else None
        letters = ", ".join(
            f"{letter['stage']}/{letter['code']} ({letter['state']}) {letter['dlq_id']}"
            for letter in one.letters
        )
        rows.append(
            (
                one.content_version, one.status,
                f"{one.topic}, Kafka partition {one.kafka_partition}, offset {one.kafka_offset}",
                run, one.attempts, one.created_at, one.finished_at, letters,
            )
        )  # fmt: skip
    columns = (
        "content version", "status", "announced at", "run", "attempts", "seen", "ended",
        "dead letters",
    )  # fmt: skip
    return table(columns, rows)
