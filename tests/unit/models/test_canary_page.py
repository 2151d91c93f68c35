"""The page: complete, escaped, without script, and with nothing of the media but blurs."""

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from media_pipeline.assets.moderation_canary import blurred
from media_pipeline.models.canary_page import render_page
from media_pipeline.models.canary_report import CanaryReport, Sample, Subject, document_of
from media_pipeline.models.comparison import Comparison, Failed, Pair
from tests.unit.models.test_comparison import judged
from tests.unit.models.test_registry import NEW, OLD

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><script>1</script>",
    "' onmouseover='x",
    "&lt;b&gt;",
    "]]>--><!--",
    "\u202egnp.exe",
]
VOID = {"meta", "img", "br", "rect"}


class Watcher(HTMLParser):
    """Notes every element and attribute; fails on elements that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID or tag == "rect":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def page_of(report: CanaryReport) -> tuple[str, Watcher]:
    page = render_page(report)
    watcher = Watcher()
    watcher.feed(page)
    watcher.close()
    assert watcher.open == []
    return page, watcher


def report(pairs=(), current=OLD, candidate=NEW) -> CanaryReport:
    comparison = Comparison()
    for pair in pairs:
        comparison.add(pair)
    return CanaryReport(
        "2026-01-01T00:00:00+00:00", Subject(current, "moderation-1-a"),
        Subject(candidate, "moderation-1-b"), Sample(200, len(pairs), 1000, "7"), True,
        comparison.summary(),
    )  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_name_holds_it_stays_text(text):
    model = replace(NEW, name=text, version=text, source={text: text}, labels=(text, "sfw"))
    pairs = [
        Pair(text, judged(0.1, **{text: 0.5}), judged(0.9, **{text: 0.9}), None, b"png"),
        Pair(f"{text}2", None, Failed(text, text)),
    ]
    page, seen = page_of(report(pairs, candidate=model))
    assert seen.text.count(text) > 4
    allowed = {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "span", "table",
        "tr", "th", "td", "code", "svg", "rect", "text", "div", "figure", "img", "figcaption",
        "strong", "br",
    }  # fmt: skip
    assert {tag for tag, _ in seen.found} <= allowed
    for _, attributes in seen.found:
        assert not [name for name in attributes if name.startswith("on")]
        assert "style" not in attributes
    assert "<script" not in page


def test_the_policy_forbids_all_but_its_own_style_and_pictures_inside():
    page, seen = page_of(report())
    (policy,) = [
        one["content"]
        for tag, one in seen.found
        if one.get("http-equiv") == "Content-Security-Policy"
    ]
    css = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none';"
        " form-action 'none'"
    )
    assert "http://" not in page
    assert "https://" not in page


def test_pictures_are_in_the_page_and_only_in_the_page():
    frame = Image.effect_noise((224, 224), 90).convert("RGB").tobytes()
    small = blurred(frame, 224)
    found = report([Pair("a", judged(0.1), judged(0.9), None, small)])
    _, seen = page_of(found)
    (source,) = [one["src"] for tag, one in seen.found if tag == "img"]
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == small
    assert "picture" not in json.dumps(document_of(found))


def test_a_blur_holds_too_little_to_be_undone():
    """Stripes of one pixel, text, a face: what is left is a dozen averages a side."""
    stripes = Image.new("RGB", (224, 224))
    for x in range(0, 224, 2):
        stripes.paste((255, 255, 255), (x, 0, x + 1, 224))
    small = Image.open(io.BytesIO(blurred(stripes.tobytes(), 224)))
    assert small.size == (12, 12)
    assert not small.info, "no metadata either"
    low, high = small.convert("L").getextrema()
    assert high - low < 20, "fine detail is gone, not hidden"


def test_colours_of_a_blur_are_right():
    blue_first = bytes((255, 0, 0)) * 32 * 32
    assert Image.open(io.BytesIO(blurred(blue_first, 32))).getpixel((5, 5)) == (0, 0, 255)


def test_the_answer_comes_first_and_says_which_way():
    pairs = [
        Pair("a", judged(0.1), judged(0.9)), Pair("b", judged(0.9), judged(0.1)),
        Pair("c", judged(0.1), judged(0.1)),
        Pair("gone", Failed("object_missing", ""), Failed("object_missing", "")),
    ]  # fmt: skip
    _, seen = page_of(report(pairs))
    assert "2 of 3 verdicts change: 1 become stricter, 1 become laxer." in seen.text
    assert "gone" in seen.text
    _, same = page_of(report(pairs[2:3]))
    assert "No verdict changes in 1 media assets." in same.text


def test_the_document_is_json_with_both_fingerprints_and_the_way_of_drawing():
    found = json.loads(
        json.dumps(document_of(report([Pair("a", judged(0.1), judged(0.9))])), allow_nan=False)
    )
    assert (found["current"]["fingerprint"], found["candidate"]["fingerprint"]) == (
        "moderation-1-a", "moderation-1-b",
    )  # fmt: skip
    assert found["sample"]["method"].startswith("media assets whose newest content version")
    assert found["flips"] == found["regressions"] == 1
    assert found["worst"][0]["candidate"]["verdict"] == "block"
