"""Pages of media assets: everything in them, nothing of it believed."""

import gzip
import json
from dataclasses import replace

import pytest

from media_pipeline.domain.operations import AssetVersion, EndedAsset
from media_pipeline.domain.outcome import Code, Derivative, StoredArtifact
from media_pipeline.reports.gallery import Gallery
from tests.fakes.object_store import FakeObjectStore
from tests.unit.processing.test_thumbnails import encode, quarters
from tests.unit.reports.test_page import EVIL, harmless

PICTURE = encode(quarters(64, 32), "WEBP")
OCR = {
    "schema": 1, "languages": ["eng"], "left_out": 0,
    "pages": [{"number": 1, "width": 640, "height": 320, "dpi": 200, "text": EVIL,
               "confidence": 71.5, "rotation": 0,
               "words": [[10, 20, 100, 30, 96.0, "Sure"], [10, 60, 100, 30, 31.0, EVIL]]}],
}  # fmt: skip
VERSION = AssetVersion(
    asset_id="a-1", content_version="sha256:1", status="complete", stage=None, code=None,
    message=None, bucket="media", object_key=f"up/{EVIL}", content_type=EVIL, size_bytes=7,
    content_digest="d" * 64, topic="media.ingested.v1", kafka_partition=3, kafka_offset=99,
    priority="live", attempts=2, fence=2, run_id="run-7", created_at="t1", claimed_at="t2",
    finished_at="t3", letters=[{"dlq_id": "L", "stage": "text", "code": EVIL, "state": "open"}],
)  # fmt: skip


class World:
    """A media asset with everything, in a ledger and a store."""

    def __init__(self) -> None:
        self.store = FakeObjectStore()
        self.verdict = "allow"
        self.versions = [VERSION]
        self.stored = {
            ("thumbnails", "256.webp", "image/webp"): PICTURE,
            ("text", "text.txt", "text/plain"): f"Minutes. {EVIL}".encode(),
            ("ocr", "ocr.json.gz", "application/gzip"): gzip.compress(json.dumps(OCR).encode()),
        }
        for (kind, name, content_type), data in self.stored.items():
            self.store.put(f"derived/{kind}/{name}", data, content_type)
        self.gallery = Gallery(self, self, self.store, "http://dagster/")

    def asset_file(self, asset_id):
        return self.versions if asset_id == "a-1" else []

    def ended_lately(self, limit):
        return [EndedAsset("a-1", "sha256:1", "complete", EVIL, "t3")]

    def derivatives(self, asset_ids):
        rows = []
        for (kind, name, content_type), data in self.stored.items():
            part = StoredArtifact(name, content_type, f"derived/{kind}/{name}", "d", len(data))
            rows.append(row(kind, (part,), {"title": EVIL}))
        scores = {"verdict": self.verdict, "scores": {"nsfw": 0.03}, "model": EVIL}
        return [*rows, row("moderation", (), scores)]


def row(kind, parts, attributes) -> Derivative:
    return Derivative(
        "a-1", "sha256:1", 2, kind, f"{kind}-fingerprint", "d", 7, Code.OK, EVIL, parts,
        attributes, 0.25,
    )  # fmt: skip


@pytest.fixture
def world():
    return World()


def test_a_page_has_everything_and_runs_nothing(world):
    document = world.gallery.page("a-1")
    seen = harmless(document)
    for part in (
        "Minutes.", "ocr-fingerprint", "Kafka partition 3, offset 99",
        'href="http://dagster/runs/run-7"', "up/", "complete.", "0.03", "L", "256.webp",
    ):  # fmt: skip
        assert part in document, part
    assert seen.tags.count("img") == 1
    assert seen.tags.count("image") == 1, "the words lie over the picture"
    assert document.count('class="word unsure"') == 1
    assert document.count('class="word"') == 1


@pytest.mark.parametrize("verdict", ["review", "block"])
def test_pictures_that_were_not_allowed_are_left_out(world, verdict):
    world.verdict = verdict
    document = world.gallery.page("a-1")
    assert "Not shown" in document
    assert "base64" not in document
    assert "base64" in world.gallery.page("a-1", show_pictures=True)


def test_what_cannot_be_read_is_named(world):
    world.store.put("derived/ocr/ocr.json.gz", b"no gzip", "application/gzip")
    del world.store.objects["derived/text/text.txt"]
    document = world.gallery.page("a-1")
    harmless(document)
    assert "derived/ocr/ocr.json.gz cannot be read" in document
    assert "object_missing" in document


def test_an_object_that_is_too_large_is_not_read(world, monkeypatch):
    monkeypatch.setattr("media_pipeline.reports.gallery._MAX_OBJECT", 10)
    document = world.gallery.page("a-1")
    assert "too large to be shown" in document
    assert "base64" not in document


def test_a_dead_letter_is_the_answer(world):
    world.versions = [
        replace(VERSION, status="dead_lettered", stage="text", code="invalid", message=EVIL)
    ]
    document = world.gallery.page("a-1")
    harmless(document)
    assert "dead_lettered by text: invalid." in document


@pytest.mark.parametrize(
    ("path", "status"),
    [("/media", 200), ("/media/", 200), ("/media/a-1", 200), ("/media/a-1?x=1", 200),
     ("/media/none", 404), ("/media/..%2f..%2fetc%2fpasswd", 404), ("/media/%3Cscript%3E", 404)],
)  # fmt: skip
def test_paths_lead_to_pages(world, path, status):
    found, document = world.gallery.serve(path)
    assert found == status
    harmless(document.replace('href="media/', 'href="http://here/media/'))


@pytest.mark.parametrize("path", ["/", "/metrics", "/mediax", "/x/media"])
def test_other_paths_are_somebody_elses(world, path):
    assert world.gallery.serve(path) is None
