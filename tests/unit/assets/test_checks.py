"""Checks warn of odd batches, stay quiet on small ones, and never cost a batch its outcome."""

import dagster as dg
import pytest

from media_pipeline.assets.checks import (
    ObservedOutcomes,
    check_events,
    check_moderation,
    check_ocr,
    check_specs,
    check_text,
    check_thumbnails,
    drift,
    freshness_policy,
    is_whole_picture,
)
from media_pipeline.domain.operations import ScoreHistory
from media_pipeline.domain.outcome import Artifact, Code, Outcome, Outcomes, ProcessorResult
from media_pipeline.domain.reconciliation import OverdueEvent
from media_pipeline.errors import TransientError
from media_pipeline.settings import CheckSettings
from tests.fakes.ledger_audit import FakeLedgerAudit
from tests.fakes.metadata_store import FakeMetadataStore
from tests.unit.processing.test_thumbnails import encode, quarters

SETTINGS = CheckSettings(min_assets=4, min_history=10, max_score_drift=0.1)


def picture_bytes(kind: str) -> bytes:
    return encode(quarters(64, 32), kind.upper())


def outcome(number: int, code=Code.OK, artifacts=(), **attributes) -> Outcome:
    result = ProcessorResult(code, "", tuple(artifacts), attributes)
    return Outcome(f"a-{number}", "1", 1, "kind", "f", "d", 1, result)


def observed(*outcomes: Outcome) -> ObservedOutcomes:
    made = ObservedOutcomes(Outcomes(iter(outcomes), expected=len(outcomes)))
    assert list(made) == list(outcomes), "outcomes pass unchanged"
    assert made.expected == len(outcomes)
    return made


def value(result: dg.AssetCheckResult, name: str):
    return result.metadata[name].value


def test_events_that_wait_too_long_warn_with_the_oldest():
    ledger = FakeLedgerAudit(FakeMetadataStore())
    assert check_events(ledger, SETTINGS, 3).passed
    ledger.overdue = [OverdueEvent("e-1", "media.out", 900.4), OverdueEvent("e-2", "o", 30)]
    result = check_events(ledger, SETTINGS, 3)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (value(result, "overdue"), value(result, "recorded")) == (1, 3)
    assert value(result, "oldest_seconds") == 900
    assert value(result, "overdue_some") == ["media.out: e-1"]


def test_a_ledger_that_does_not_answer_costs_no_batch_its_outcome(monkeypatch):
    ledger = FakeLedgerAudit(FakeMetadataStore())

    def away(*_):
        raise TransientError("away", remedy="wait", code="ledger_unavailable")

    monkeypatch.setattr(ledger, "overdue_events", away)
    result = check_events(ledger, SETTINGS, 3)
    assert result.passed
    assert "ledger_unavailable" in value(result, "not_asked")


def test_a_batch_without_text_in_its_text_layers_warns():
    found = observed(*(outcome(n, characters=0 if n else 120) for n in range(4)))
    result = check_text(found, SETTINGS)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (value(result, "empty"), value(result, "read")) == (3, 4)
    assert value(result, "outcomes") == {"ok": 4}


def test_a_few_media_assets_say_nothing():
    assert check_text(observed(*(outcome(n, characters=0) for n in range(3))), SETTINGS).passed
    assert check_text(observed(), SETTINGS).passed


def test_what_has_no_text_layer_is_not_empty_text():
    rows = [outcome(n, Code.NOT_APPLICABLE) for n in range(20)]
    assert check_text(observed(*rows), SETTINGS).passed


def test_ocr_warns_of_an_unsure_reading_and_shows_the_distribution():
    found = observed(*(outcome(n, confidence=c) for n, c in enumerate((20, 30.5, 41, 99, 100))))
    result = check_ocr(found, SETTINGS)
    assert not result.passed
    assert value(result, "by_tens")["20-30"] == 1
    assert value(result, "by_tens")["90-100"] == 2
    assert value(result, "confidence") == {"min": 20, "p10": 20, "p50": 41, "p90": 100, "max": 100}
    sure = observed(*(outcome(n, confidence=95) for n in range(9)))
    assert check_ocr(sure, SETTINGS).passed


@pytest.mark.parametrize("kind", ["webp", "jpeg", "png", "avif"])
def test_whole_pictures_of_every_format_are_whole_and_halves_are_not(kind):
    data = picture_bytes(kind)
    assert is_whole_picture(Artifact("t", f"image/{kind}", data))
    if kind != "avif":  # names no size where it begins
        assert not is_whole_picture(Artifact("t", f"image/{kind}", data[: len(data) // 2]))
    assert not is_whole_picture(Artifact("t", f"image/{kind}", b""))
    assert not is_whole_picture(Artifact("t", f"image/{kind}", b"<html>" + data))


def test_one_broken_picture_warns_and_is_named():
    whole = Artifact("128.webp", "image/webp", picture_bytes("webp"))
    cut = Artifact("256.webp", "image/webp", whole.data[:-9])
    result = check_thumbnails(observed(outcome(1, artifacts=[whole, cut])), SETTINGS)
    assert not result.passed
    assert value(result, "broken_some") == ["a-1: 256.webp"]
    assert check_thumbnails(observed(outcome(1, artifacts=[whole])), SETTINGS).passed


class Ledger:
    def __init__(self, history=None) -> None:
        self.history = history
        self.asked = []

    def score_history(self, kind, fingerprint, label, *, days):
        self.asked.append((kind, fingerprint, label, days))
        if self.history is None:
            raise TransientError("away", remedy="wait", code="ledger_busy")
        return self.history


def judged(*scores: float) -> ObservedOutcomes:
    return observed(
        *(outcome(n, scores={"nsfw": s}, verdict="allow") for n, s in enumerate(scores))
    )


def test_scores_that_moved_from_the_previous_week_warn():
    ledger = Ledger(ScoreHistory(1000, 0.1, 0.05))
    result = check_moderation(judged(0.6, 0.5, 0.7, 0.6), SETTINGS, ledger, "f-1")
    assert not result.passed
    assert value(result, "drifted") == ["nsfw"]
    assert value(result, "nsfw")["moved_by"] == 0.5
    assert value(result, "verdicts") == {"allow": 4}
    assert ledger.asked == [("moderation", "f-1", "nsfw", 7)]


@pytest.mark.parametrize(
    ("scores", "history", "moved"),
    [
        ((0.6, 0.6, 0.6), ScoreHistory(1000, 0.1, 0.05), None),
        ((0.6, 0.6, 0.6, 0.6), ScoreHistory(9, 0.1, 0.05), None),
        ((0.6, 0.6, 0.6, 0.6), ScoreHistory(0), None),
        ((0.6, 0.6, 0.6, 0.6), ScoreHistory(1000, 0.1, 0.4), None),
        ((0.15, 0.15, 0.15, 0.15), ScoreHistory(1000, 0.1, 0.01), 0.05),
    ],
    ids=["small batch", "little history", "no history", "chance", "a small move"],
)
def test_drift_is_told_from_chance(scores, history, moved):
    assert drift(scores, history, SETTINGS) == (moved and pytest.approx(moved))


def test_a_ledger_that_is_away_costs_the_comparison_alone():
    result = check_moderation(judged(0.1, 0.1), SETTINGS, Ledger(), "f-1")
    assert result.passed
    assert "ledger_busy" in value(result, "nsfw")["not_compared"]


def test_every_workload_has_a_check_that_does_not_block():
    for kind in ("text", "thumbnails", "ocr", "moderation"):
        (spec,) = check_specs(kind)
        assert spec.asset_key == dg.AssetKey(kind)
        assert spec.description
        assert not spec.blocking


def test_freshness_may_be_off():
    assert freshness_policy(CheckSettings(fresh_fail_hours=None)) is None
    policy = freshness_policy(CheckSettings())
    assert policy.fail_window.to_timedelta().days == 7
