"""Pages show what they are given, run nothing, and let nothing run."""

from datetime import date
from html.parser import HTMLParser

import pytest

from media_pipeline.domain.operations import DayCount
from media_pipeline.health.daily import DailyReport
from media_pipeline.health.findings import Finding
from media_pipeline.reports.daily_page import daily_page
from media_pipeline.reports.page import bars, element, link, page, picture, policy, table, text

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'`${7*7}"


class Seen(HTMLParser):
    """Tags, attributes and addresses of a page."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def harmless(document: str) -> Seen:
    """Asserts that nothing in it can run or call out."""
    seen = Seen(document)
    assert not {"script", "iframe", "object", "embed", "form", "link", "base"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    addresses = [value for name, value in seen.attributes if name in ("src", "href", "xlink:href")]
    assert all(one.startswith(("http://", "https://", "data:image/")) for one in addresses)
    assert "default-src 'none'" in dict(seen.attributes)["content"] or policy() in {
        value for _, value in seen.attributes
    }
    return seen


def test_everything_given_is_escaped():
    document = page(
        EVIL,
        [
            EVIL,
            element("p", EVIL, title=EVIL),
            table((EVIL,), [[EVIL], [(EVIL, EVIL)]]),
            bars({EVIL: 1.0}, title=EVIL, bad={EVIL: 1.0}),
            picture(b"x", EVIL, EVIL),
            picture(b"x", "image/webp", EVIL),
            link(f"https://host/{EVIL}", EVIL),
        ],
    )
    seen = harmless(document)
    assert seen.tags.count("img") == 1, "the picture alone"
    assert "alert(1)" in document


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//host/x", "file:///etc/passwd", "x"]
)
def test_links_lead_to_the_web_or_nowhere(url):
    assert "href" not in link(url, "here")


def test_values_are_not_taken_for_html():
    assert text("<b>") == "&lt;b&gt;"
    assert text(element("b", "<i>")) == "<b>&lt;i&gt;</b>"
    assert text(None) == "-"


def test_the_daily_page_shows_findings_figures_and_plots():
    report = DailyReport(
        "2026-03-10T06:00:00+00:00",
        (
            Finding("consumer lag", "Kafka partition 0", "fail", "99 messages", "at most 5", EVIL),
            Finding("dependency", "ledger", "ok", "answered in 0.01 s"),
        ),
        (DayCount(date(2026, 3, 9), "text", "ok", 90, 1.0),
         DayCount(date(2026, 3, 9), "text", EVIL, 10, 1.0)),
        {0: 99, 1: 0},
    )  # fmt: skip
    document = daily_page(report, max_lag=5)
    seen = harmless(document)
    assert "Something is wrong." in document
    assert document.index("99 messages") < document.index("answered in")
    assert seen.tags.count("svg") == 2
    assert "10 failed" in document


def test_a_page_without_figures_says_so():
    document = daily_page(DailyReport("now", ()), max_lag=5)
    harmless(document)
    assert document.count("no figures yet") == 2
