"""The shell of every page, and its few building blocks; everything that comes in is escaped.

A page has no script and its own policy forbids one; pictures are `data:` URIs. Text that is
already HTML is a `Markup`; whatever else is given is escaped when it is put in.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from urllib.parse import urlsplit

CSS = """
:root { color-scheme: light dark; --line: #8884; --ok: #3a8f5c; --warn: #d9822b; --fail: #c9372c; --unknown: #6b7a90; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.answer { font-size: 1.15rem; border-left: .3rem solid var(--unknown); padding-left: .8rem; }
.answer.ok { border-color: var(--ok); } .answer.warn { border-color: var(--warn); } .answer.fail { border-color: var(--fail); }
.quiet { opacity: .75; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; }
th, td { border: 1px solid var(--line); padding: .25rem .6rem; text-align: left; vertical-align: top; overflow-wrap: break-word; }
th { white-space: nowrap; } td { max-width: 32rem; }
td.ok { color: var(--ok); } td.warn { color: var(--warn); font-weight: 600; } td.fail { color: var(--fail); font-weight: 600; }
code { font-size: .85em; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 24rem; overflow-y: auto; border: 1px solid var(--line); padding: .6rem; }
svg { display: block; max-width: 100%; height: auto; }
svg text { font: 10px system-ui, sans-serif; fill: currentColor; }
.bar { fill: #4a7fb5; } .bar.bad { fill: var(--warn); } .limit { stroke: var(--fail); stroke-dasharray: 4 3; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; } figcaption { font-size: .85rem; opacity: .75; }
figure img, figure svg { border: 1px solid var(--line); max-width: 100%; }
.word { fill: #3a8f5c33; stroke: #3a8f5c; stroke-width: 1; } .word.unsure { fill: #d9822b44; stroke: #d9822b; }
"""  # noqa: E501
_IMAGE = re.compile(r"image/[a-z0-9.+-]+")
_BAR_WIDTH, _CHART_HEIGHT, _AXIS = 34, 120, 18


class Markup(str):
    """Text that is HTML already; made in this package alone, from escaped parts."""

    __slots__ = ()


def text(value: object) -> Markup:
    """A value as HTML: escaped unless it is `Markup`; None is a dash."""
    if isinstance(value, Markup):
        return value
    return Markup("-" if value is None or value == "" else escape(str(value)))


def element(name: str, content: object, **attributes: str) -> Markup:
    """`<name attributes>content</name>`; `class_` stands for `class`."""
    given = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{given}>{text(content)}</{name}>")


def joined(parts: Iterable[object]) -> Markup:
    """Parts one after the other, each escaped unless it is HTML."""
    return Markup("\n".join(text(part) for part in parts))


def link(url: str, label: object) -> Markup:
    """A link to http(s); any other address stays text: `javascript:` must lead nowhere."""
    if urlsplit(url).scheme not in ("http", "https"):
        return text(label)
    return element("a", label, href=url, rel="noreferrer")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """A table; a cell that is a pair (content, class) gets that class."""
    head = element("tr", joined(element("th", one) for one in columns)) if any(columns) else ""
    body = [element("tr", joined(_cell(cell) for cell in row)) for row in rows]
    if not body:
        return element("p", "none", class_="quiet")
    return element("div", element("table", joined([Markup(head), *body])), class_="scroll")


def _cell(cell: object) -> Markup:
    if isinstance(cell, tuple):
        content, name = cell
        return element("td", content, class_=str(name))
    return element("td", cell)


def facts(values: Mapping[str, object]) -> Markup:
    """Names and values, one row each."""
    return table(("", ""), [(name, value) for name, value in values.items()])


def bars(
    values: Mapping[str, float], *, title: str, limit: float | None = None,
    bad: Mapping[str, float] | None = None,
) -> Markup:  # fmt: skip
    """A bar per name; `bad` is the part of each that is drawn apart, `limit` a line across."""
    if not values:
        return element("p", f"{title}: no figures yet", class_="quiet")
    highest = max([*values.values(), limit or 0, 1e-9])
    width = len(values) * _BAR_WIDTH + 60
    drawn = []
    for number, (name, value) in enumerate(values.items()):
        left = 50 + number * _BAR_WIDTH
        drawn.append(_bar(left, value, highest, "bar", f"{name}: {value:g}"))
        part = (bad or {}).get(name, 0)
        if part:
            drawn.append(_bar(left, part, highest, "bar bad", f"{name}: {part:g} failed"))
        label = f'<text x="{left}" y="{_CHART_HEIGHT + 14}">{escape(name[-5:])}</text>'
        drawn.append(label)
    if limit is not None:
        y = _CHART_HEIGHT - limit / highest * (_CHART_HEIGHT - 10)
        drawn.append(f'<line class="limit" x1="45" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>')
    picture = (
        f'<svg role="img" aria-label="{escape(title)}" width="{width}"'
        f' viewBox="0 0 {width} {_CHART_HEIGHT + _AXIS}">'
        f'<text x="0" y="14">{highest:g}</text>{"".join(drawn)}</svg>'
    )
    return Markup(f"<figure>{picture}<figcaption>{escape(title)}</figcaption></figure>")


def _bar(left: int, value: float, highest: float, name: str, title: str) -> str:
    height = max(0.0, value / highest * (_CHART_HEIGHT - 10))
    return (
        f'<rect class="{name}" x="{left}" y="{_CHART_HEIGHT - height:.1f}" width="26"'
        f' height="{height:.1f}"><title>{escape(title)}</title></rect>'
    )


def picture(data: bytes, content_type: str, caption: str) -> Markup:
    """An image inside the page; what says to be something else is its caption alone."""
    if not _IMAGE.fullmatch(content_type):
        return element("p", caption)
    packed = base64.b64encode(data).decode()
    image = f'<img src="data:{escape(content_type)};base64,{packed}" alt="{escape(caption)}">'
    return element("figure", joined([Markup(image), element("figcaption", caption)]))


def policy() -> str:
    """The page's Content-Security-Policy: its own style, pictures inside it, nothing else."""
    digest = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none';"
        " form-action 'none'"
    )


def page(title: str, parts: Iterable[object]) -> str:
    """The whole document."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy())}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f"{joined([element('h1', title), *parts])}\n</body>\n</html>\n"
    )
