"""`media.asset_enriched.v1`: what consumers get."""

import json
from pathlib import Path

import jsonschema
import pytest

from media_pipeline.contracts import asset_enriched
from media_pipeline.contracts.asset_enriched import build_asset_enriched, parse_asset_enriched
from media_pipeline.contracts.json_document import NotJsonError
from media_pipeline.domain.media_asset import MediaAsset, SourceObject
from media_pipeline.domain.outcome import Code, Derivative, StoredArtifact, Verdict

SCHEMA = json.loads(
    (Path(asset_enriched.__file__).parent / "schemas" / "media.asset_enriched.v1.json").read_text()
)
ASSET = MediaAsset("a-1", "sha256:1", SourceObject("media", "k"), "e", "t", traceparent="00-tp")


def row(kind, code, *parts):
    why = "" if parts else "why"
    return Derivative(
        "a-1", "sha256:1", 1, kind, f"{kind}-1", "d", 9, code, why, parts, {"n": 1}, 0.1
    )


def build(status="complete"):
    part = StoredArtifact("t.txt", "text/plain", "derived/t.txt", "a" * 64, 12)
    rows = [row("text", Code.OK, part, part), row("thumbnails", Code.NOT_APPLICABLE)]
    decided = Verdict(status, *(("text", "invalid", "broken") if status == "partial" else ()))
    return build_asset_enriched(ASSET, decided, rows, run_id="r", occurred_at="t", topic="out")


@pytest.mark.parametrize("status", ["complete", "partial"])
def test_fits_the_schema_and_is_read_back(status):
    event = build(status)
    body = parse_asset_enriched(event.payload)
    jsonschema.validate(body, SCHEMA)
    assert (body["outcome"], body["event_id"]) == (status, event.event_id)
    assert [one["bytes"] for one in body["derivatives"]] == [24, 0]
    assert body["derivatives"][0]["object_key"] == "derived/t.txt"
    assert body.get("reason") == ("text/invalid: broken" if status == "partial" else None)


def test_the_trace_goes_on():
    assert dict(build().headers)["traceparent"] == b"00-tp"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"{", "malformed_json"),
        (b"{}", "missing_field"),
        (b'{"type": "media.asset_enriched.v2"}', "unknown_version"),
    ],
)
def test_consumers_refuse_what_they_do_not_know(payload, code):
    with pytest.raises(NotJsonError) as caught:
        parse_asset_enriched(payload)
    assert caught.value.code == code
