"""How a batch is judged: events, dead letters, waiting."""

import json

import dagster as dg
import pytest

from media_pipeline.assets.enrichment import _batch_verdict, judge
from media_pipeline.domain.identity import dead_letter_id, enriched_event_id
from media_pipeline.domain.media_asset import MediaAsset, SourceObject
from media_pipeline.domain.outcome import Code, Derivative
from media_pipeline.domain.ports import Claim

TOPIC = "media.asset_enriched.v1"


def claim(asset_id: str = "a", version: str = "sha256:1") -> Claim:
    asset = MediaAsset(asset_id, version, SourceObject("media", "k"), "e", "2026-01-01T00:00:00Z")
    return Claim(asset, fence=3, attempts=1, previous_status="registered")


def row(kind: str, code: Code, version: str = "sha256:1") -> Derivative:
    return Derivative("a", version, 3, kind, f"{kind}-1", "d" * 64, 10, code, "why", (), {}, 0.1)


def judge_one(text: Derivative | None, thumbnails: Derivative | None):
    by_kind = {
        "text": {"a": text} if text else {},
        "thumbnails": {"a": thumbnails} if thumbnails else {},
    }
    (result,) = judge([claim()], by_kind, "run-1", TOPIC)
    return result


def test_complete_makes_one_event_with_a_stable_id():
    result = judge_one(row("text", Code.OK), row("thumbnails", Code.NOT_APPLICABLE))
    assert result.verdict.status == "complete"
    assert result.dead_letter is None
    assert result.event is not None
    fingerprints = {"text": "text-1", "thumbnails": "thumbnails-1"}
    assert result.event.event_id == enriched_event_id("a", "sha256:1", fingerprints)
    assert (result.event.topic, result.event.key) == (TOPIC, b"a")
    assert json.loads(result.event.payload)["outcome"] == "complete"
    assert (result.content_digest, result.size_bytes, result.fence) == ("d" * 64, 10, 3)


def test_nothing_usable_makes_one_dead_letter():
    result = judge_one(row("text", Code.ENCRYPTED), row("thumbnails", Code.ENCRYPTED))
    assert result.event is None
    assert result.dead_letter is not None
    assert result.dead_letter.dlq_id == dead_letter_id("a", "sha256:1", "text", "encrypted")
    assert result.dead_letter.error_class == "permanent"


@pytest.mark.parametrize(
    "text", [None, row("text", Code.OK, version="sha256:old"), row("text", Code.TRANSIENT)]
)
def test_a_kind_that_is_missing_of_another_version_or_transient_waits(text):
    result = judge_one(text, row("thumbnails", Code.OK))
    assert result.verdict.status == "retry"
    assert result.event is None
    assert result.dead_letter is None


def check(code: Code, unknown: int = 0) -> dg.AssetCheckResult:
    results = judge([claim()], {"text": {"a": row("text", code)}}, "run-1", TOPIC)
    return _batch_verdict(results, unknown)


def test_the_check_warns_of_dead_letters_and_fails_for_what_waits():
    good = check(Code.OK)
    assert good.passed
    dead = check(Code.INVALID)
    assert (dead.passed, dead.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "text/invalid: why" in str(dead.metadata["dead_letters"].value)
    assert dead.description == "1 dead_lettered"
    assert [dead.metadata[one].value for one in ("complete", "dead_lettered")] == [0, 1]
    waiting = check(Code.TRANSIENT)
    assert (waiting.passed, waiting.severity) == (False, dg.AssetCheckSeverity.ERROR)
    unknown = check(Code.OK, unknown=1)
    assert (unknown.passed, unknown.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "1 not in the ledger" in unknown.description
