"""The gallery as a browser shows it: pages of the exporter process, looked at in Chromium."""

import uuid

import pytest

from media_pipeline.cli.producer import announce, upload
from media_pipeline.local_stack.sample_media import generate
from tests.e2e.browser import running_browser
from tests.e2e.pipeline import ended, wait_until
from tests.e2e.prometheus_server import running_exporter

pytestmark = pytest.mark.timeout(300)

PREFIX = f"gallery-{uuid.uuid4().hex[:6]}"
SCRIPT = (
    "Minutes.</pre><script>document.title='taken over'</script>"
    "<img src='http://127.0.0.1:9/leak' onerror=\"document.title='taken over'\">"
    "<style>body{display:none}</style>"
)


@pytest.fixture(scope="module")
def browser():
    with running_browser() as window:
        yield window


@pytest.fixture(scope="module")
def gallery(browser, stack, world, dagster):
    """(address, ids by name) of a scan, a photo, a broken file, and a note full of markup."""
    made = {one.asset_id.rsplit("-", 1)[1]: one for one in generate(40, seed=23)}
    sent = {name: made[name] for name in ("scan", "photo", "truncated")}
    uploads = [
        upload(world, f"{PREFIX}-{name}", one.filename, one.data, one.content_type)
        for name, one in sent.items()
    ]
    uploads.append(upload(world, f"{PREFIX}-note", "note.txt", SCRIPT.encode(), "text/plain"))
    announce(world, uploads)
    ids = {name: f"{PREFIX}-{name}" for name in (*sent, "note")}
    wait_until(lambda: ended(world, ids.values()), "four media assets")
    with running_exporter(stack) as (_, metrics):
        yield metrics.removesuffix("/metrics"), ids


def opened(browser, gallery, name: str):
    address, ids = gallery
    assert browser.open(f"{address}/media/{ids[name]}") == 200
    return browser.page


def fitting(page, selector: str) -> list[bool]:
    """Whether each element is drawn, and inside the picture that it lies on."""
    return page.eval_on_selector_all(
        selector,
        """found => found.map(one => {
            const box = one.getBoundingClientRect();
            const around = one.closest('svg').getBoundingClientRect();
            return box.width > 0 && box.height > 0 && box.left >= around.left - 1
                && box.right <= around.right + 1 && box.top >= around.top - 1
                && box.bottom <= around.bottom + 1;
        })""",
    )


def test_a_scan_is_shown_with_its_words_over_its_page(browser, gallery, tmp_path):
    page = opened(browser, gallery, "scan")
    sizes = page.eval_on_selector_all("figure img", "all => all.map(one => one.naturalWidth)")
    assert len(sizes) >= 2
    assert all(sizes), "every thumbnail was decoded"
    boxes = fitting(page, "rect.word")
    assert len(boxes) > 20
    assert all(boxes), "words lie on the page"
    assert page.locator("svg image").count() == 1, "the page is under them"
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= page.viewport_size["width"], "nobody scrolls sideways"
    page.screenshot(path=tmp_path / "scan.png", full_page=True)
    assert (browser.asked, browser.complaints) == ([], [])


def test_what_a_file_says_is_text_and_nothing_else(browser, gallery):
    page = opened(browser, gallery, "note")
    assert page.title() == f"Media asset {gallery[1]['note']}"
    assert page.locator("pre").inner_text().strip() == SCRIPT
    assert page.locator("script").count() == 0
    assert page.locator("h2", has_text="History").is_visible()
    assert (browser.asked, browser.complaints) == ([], [])


def test_a_dead_letter_says_why_and_where_it_came_from(browser, gallery):
    page = opened(browser, gallery, "truncated")
    assert page.locator("p.answer.fail").inner_text().startswith("dead_lettered by ")
    shown = page.locator("body").inner_text()
    assert "Kafka partition" in shown
    assert page.locator("a[href*='/runs/']").first.is_visible()
    assert browser.complaints == []


def test_the_list_leads_to_each_page(browser, gallery):
    address, ids = gallery
    assert browser.open(f"{address}/media") == 200
    browser.page.get_by_role("link", name=ids["photo"], exact=True).click()
    browser.page.wait_for_url(f"{address}/media/{ids['photo']}")
    browser.page.locator("figure img").first.wait_for(state="visible")
    assert browser.open(f"{address}/media/nobody-knows-it") == 404
