"""Asset checks: what one batch says about the health of its workload.

The figures are taken while outcomes stream past, so a check costs no further step, no download
and, but for the drift of scores and the outbox, no question to anybody. All of them warn; none
blocks: a batch of odd media is a reason to look, not to stop. What decides over the run is
`batch_verdict`.

Belongs here: figures, rules, thresholds applied. Must not be here: processing, adapters.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from media_pipeline.domain.operations import OperationsLedger, ScoreHistory
from media_pipeline.domain.outcome import Artifact, Code, Outcome, Outcomes
from media_pipeline.domain.reconciliation import LedgerAudit, OverdueEvent
from media_pipeline.errors import MediaPipelineError
from media_pipeline.settings import CheckSettings

TEXT_CHECK = "text_is_not_empty"
THUMBNAILS_CHECK = "thumbnails_are_readable"
OCR_CHECK = "ocr_is_confident"
MODERATION_CHECK = "scores_have_not_drifted"
EVENTS_CHECK = "events_are_published"

_DESCRIPTIONS: Mapping[str, str] = {
    TEXT_CHECK: "Warns when much of a batch has a text layer without text: a reader that broke.",
    THUMBNAILS_CHECK: "Warns when a stored picture is not whole, by its format's own marks.",
    OCR_CHECK: "Warns when pages are read with little confidence: language, resolution, program.",
    MODERATION_CHECK: "Warns when the mean score moved away from that of the previous week.",
    EVENTS_CHECK: "Warns when events that were recorded long ago are not published: the relay, or"
    " the brokers. The batch's own events are published by the relay within seconds.",
}
_SHOWN = 20
_RIFF_HEADER = 8


class ObservedOutcomes(Outcomes):
    """Outcomes that leave their figures behind as they pass; artifacts are looked at, not kept."""

    def __init__(self, outcomes: Outcomes) -> None:
        super().__init__(self._watch(outcomes), expected=outcomes.expected)
        self.codes: Counter[str] = Counter()
        self.numbers: dict[str, list[float]] = defaultdict(list)
        self.scores: dict[str, list[float]] = defaultdict(list)
        self.verdicts: Counter[str] = Counter()
        self.pictures = 0
        self.broken: list[str] = []

    def _watch(self, outcomes: Outcomes) -> Iterator[Outcome]:
        for outcome in outcomes:
            self._note(outcome)
            yield outcome

    def _note(self, outcome: Outcome) -> None:
        result = outcome.result
        self.codes[str(result.code)] += 1
        if result.code is not Code.OK:
            return
        attributes = result.attributes
        for name in ("characters", "confidence"):
            value = attributes.get(name)
            if isinstance(value, int | float):
                self.numbers[name].append(float(value))
        scores = attributes.get("scores")
        if isinstance(scores, Mapping):
            for label, score in scores.items():
                self.scores[str(label)].append(float(score))
        if "verdict" in attributes:
            self.verdicts[str(attributes["verdict"])] += 1
        for artifact in result.artifacts:
            if artifact.content_type.startswith("image/"):
                self.pictures += 1
                if not is_whole_picture(artifact):
                    self.broken.append(f"{outcome.asset_id}: {artifact.name}")


def is_whole_picture(artifact: Artifact) -> bool:
    """Whether the marks that its format begins and ends with are there, at the right places.

    Not decoded: the run's own process decodes no pictures.
    """
    data = artifact.data
    if artifact.content_type == "image/webp":
        size = int.from_bytes(data[4:_RIFF_HEADER], "little")
        return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and size + _RIFF_HEADER == len(data)
    if artifact.content_type == "image/jpeg":
        return data[:3] == b"\xff\xd8\xff" and data[-2:] == b"\xff\xd9"
    if artifact.content_type == "image/png":
        return data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND"
    if artifact.content_type == "image/avif":
        return data[4:12] == b"ftypavif"
    return False


def check_specs(kind: str) -> list[dg.AssetCheckSpec]:
    """The checks of one workload, to be named on its Dagster asset."""
    name = _NAMES[kind]
    return [dg.AssetCheckSpec(name, asset=kind, description=_DESCRIPTIONS[name])]


def check_text(found: ObservedOutcomes, settings: CheckSettings) -> dg.AssetCheckResult:
    """How much of the text that was read is empty."""
    characters = found.numbers["characters"]
    empty = sum(number == 0 for number in characters)
    ratio = empty / len(characters) if characters else 0.0
    odd = len(characters) >= settings.min_assets and ratio > settings.max_empty_text_ratio
    return _result(
        TEXT_CHECK, found, odd,
        {"read": len(characters), "empty": empty, "empty_ratio": round(ratio, 4),
         "limit": settings.max_empty_text_ratio, "characters": _spread(characters)},
    )  # fmt: skip


def check_thumbnails(found: ObservedOutcomes, settings: CheckSettings) -> dg.AssetCheckResult:  # noqa: ARG001  # one signature for all
    """Whether every picture is whole."""
    return _result(
        THUMBNAILS_CHECK, found, bool(found.broken),
        {"pictures": found.pictures, "broken": len(found.broken),
         "broken_some": found.broken[:_SHOWN]},
    )  # fmt: skip


def check_ocr(found: ObservedOutcomes, settings: CheckSettings) -> dg.AssetCheckResult:
    """How confident the reading was, as a distribution."""
    confidences = found.numbers["confidence"]
    median = statistics.median(confidences) if confidences else None
    odd = (
        median is not None
        and len(confidences) >= settings.min_assets
        and median < settings.min_median_confidence
    )
    tens = Counter(min(9, int(one // 10)) * 10 for one in confidences)
    return _result(
        OCR_CHECK, found, odd,
        {"read": len(confidences), "median": median, "limit": settings.min_median_confidence,
         "confidence": _spread(confidences),
         "by_tens": {f"{ten}-{ten + 10}": tens[ten] for ten in range(0, 100, 10)}},
    )  # fmt: skip


def check_moderation(
    found: ObservedOutcomes,
    settings: CheckSettings,
    ledger: OperationsLedger,
    fingerprint: str,
) -> dg.AssetCheckResult:
    """The batch's scores against those of the previous week by the same model."""
    metadata: dict[str, Any] = {"verdicts": dict(found.verdicts)}
    drifted = []
    for label, scores in sorted(found.scores.items()):
        try:
            history = ledger.score_history(
                "moderation", fingerprint, label, days=settings.drift_days
            )
        except MediaPipelineError as error:
            # A check must not cost the batch its outcome.
            metadata[label] = {"not_compared": str(error)}
            continue
        moved = drift(scores, history, settings)
        metadata[label] = {
            "batch": len(scores), "batch_mean": round(statistics.fmean(scores), 4),
            "week": history.count, "week_mean": _rounded(history.mean),
            "moved_by": _rounded(moved),
        }  # fmt: skip
        if moved is not None and abs(moved) > settings.max_score_drift:
            drifted.append(label)
    return _result(MODERATION_CHECK, found, bool(drifted), {**metadata, "drifted": drifted})


def check_events(
    ledger: LedgerAudit, settings: CheckSettings, recorded: int
) -> dg.AssetCheckResult:
    """Whether the outbox gets emptied. `recorded`: events that this batch has just put into it.

    An event of this batch cannot be published yet: its row was committed a moment ago, and the
    relay comes after. It is this check of the next batch, or of the same keys run again, that
    would tell of it.
    """
    metadata: dict[str, Any] = {
        "recorded": recorded,
        "limit_seconds": settings.max_unpublished_seconds,
    }
    overdue: Sequence[OverdueEvent] = ()
    try:
        overdue = ledger.overdue_events(settings.max_unpublished_seconds, _SHOWN)
    except MediaPipelineError as error:
        metadata["not_asked"] = str(error)
    if overdue:
        metadata["oldest_seconds"] = round(overdue[0].age)
        metadata["overdue_some"] = [f"{one.topic}: {one.event_id}" for one in overdue]
    return dg.AssetCheckResult(
        passed=not overdue,
        severity=dg.AssetCheckSeverity.WARN,
        check_name=EVENTS_CHECK,
        metadata={"overdue": len(overdue), **metadata},
    )


def drift(scores: Sequence[float], history: ScoreHistory, settings: CheckSettings) -> float | None:
    """How far the mean moved; None where it cannot be told from chance.

    Chance: within three standard errors of a batch of this size.
    """
    if (
        len(scores) < settings.min_assets
        or history.count < settings.min_history
        or history.mean is None
    ):
        return None
    moved = statistics.fmean(scores) - history.mean
    error = (history.deviation or 0.0) / len(scores) ** 0.5
    return moved if abs(moved) > 3 * error else None


def freshness_policy(settings: CheckSettings) -> dg.FreshnessPolicy | None:
    """Nothing materialized for long: no uploads, or nothing gets through. None when off."""
    if settings.fresh_fail_hours is None:
        return None
    warn = settings.fresh_warn_hours
    return dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=settings.fresh_fail_hours),
        warn_window=timedelta(hours=warn) if warn is not None else None,
    )


_NAMES: Mapping[str, str] = {
    "enrichment": EVENTS_CHECK,
    "text": TEXT_CHECK,
    "thumbnails": THUMBNAILS_CHECK,
    "ocr": OCR_CHECK,
    "moderation": MODERATION_CHECK,
}


def _result(
    name: str, found: ObservedOutcomes, odd: bool, metadata: Mapping[str, Any]
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not odd,
        severity=dg.AssetCheckSeverity.WARN,
        check_name=name,
        metadata={"outcomes": dict(sorted(found.codes.items())), **metadata},
    )


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    """Smallest, tenth, middle, nine tenths, largest."""
    if not values:
        return None
    ordered = sorted(values)
    last = len(ordered) - 1
    places = {"min": 0.0, "p10": 0.1, "p50": 0.5, "p90": 0.9, "max": 1.0}
    return {name: ordered[round(last * place)] for name, place in places.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
