"""What a canary found, as one document: which models, which sample, and the comparison."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from media_pipeline.models.comparison import Summary
from media_pipeline.models.registry import ModelManifest

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """How media assets were drawn. `asked`: how many were wanted; `population`: of how many."""

    asked: int
    drawn: int
    population: int
    seed: str

    @property
    def method(self) -> str:
        """In words, so that anybody can draw the same again."""
        return (
            "media assets whose newest content version has an ok moderation in the ledger, in the"
            f" order of md5('{self.seed}:' + asset id), the first {self.drawn} of"
            f" {self.population}: every one had the same chance, and the same seed draws the"
            " same again"
        )


@dataclass(frozen=True, slots=True)
class Subject:
    """One of the two models, and the fingerprint that its verdicts would be filed under."""

    manifest: ModelManifest
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """`same_frames`: both models judged the same bytes; otherwise frames were made for each."""

    made_at: str
    current: Subject
    candidate: Subject
    sample: Sample
    same_frames: bool
    summary: Summary


def document_of(report: CanaryReport) -> dict[str, Any]:
    """The report as JSON values; pictures are left to the page."""
    summary = asdict(report.summary)
    for example in summary["worst"]:
        del example["picture"]
    return {
        "schema": SCHEMA,
        "made_at": report.made_at,
        "current": _subject(report.current),
        "candidate": _subject(report.candidate),
        "sample": {**asdict(report.sample), "method": report.sample.method},
        "same_frames": report.same_frames,
        "regressions": report.summary.regressions,
        **summary,
    }


def _subject(subject: Subject) -> dict[str, Any]:
    manifest = subject.manifest
    return {
        "reference": manifest.reference,
        "edition": manifest.edition,
        "fingerprint": subject.fingerprint,
        **asdict(manifest),
    }
