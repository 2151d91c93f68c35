"""Two moderation models over a sample: the same downloads, the same frames, side by side.

Reads through the ports, decodes in the cage, and writes nothing anywhere. Where both models
want their frames made alike, each frame is made once and both get the same bytes; otherwise
frames are made for each as its manifest says, and media assets are compared, not frames.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from media_pipeline.assets.moderation_work import FrameScores, Judge, require_device, stage_spec
from media_pipeline.assets.source_media import SourceMedia
from media_pipeline.assets.staged_workload import Part, process_staged_batch
from media_pipeline.assets.workload import Pool
from media_pipeline.domain.media_asset import MediaAsset
from media_pipeline.domain.outcome import Code, Outcome, ProcessorResult
from media_pipeline.domain.ports import Claim, ObjectStore
from media_pipeline.domain.samples import SampledMedia
from media_pipeline.fingerprints import frame_params
from media_pipeline.models.comparison import SIDES, Failed, Judgement, Pair, Side, levels_of
from media_pipeline.settings import Settings

#: Media assets whose downloads are on disk at a time.
CHUNK = 100
#: Pixels of a picture in the report: faces and letters do not survive so few.
_BLURRED_SIDE = 12


@dataclass
class JudgingWork:
    """A staged workload whose parts go to several models that want their frames made alike.

    A part's group is the model that it is for. The judgements are in the attributes of each
    outcome; `failed_by` tells which models could not judge a media asset.
    """

    settings: Settings
    judges: Mapping[Side, Judge]
    failed_by: dict[str, dict[Side, ProcessorResult]] = field(default_factory=dict)
    _pictures: dict[str, list[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._first = next(iter(self.judges.values()))
        self.spec = stage_spec(self.settings, self._first.manifest)

    def plan(self, asset: MediaAsset) -> ProcessorResult | Mapping[str, object]:  # noqa: ARG002
        """Every file is looked at."""
        return {}

    def parts(self, asset: MediaAsset, prepared: ProcessorResult) -> Sequence[Part]:
        """Every frame once for every model, the same bytes."""
        frames = self._first.cut(prepared.artifacts[0].data)
        side = self._first.manifest.crop
        self._pictures[asset.asset_id] = [blurred(frame, side) for frame in frames]
        return [
            Part(asset.asset_id, number * len(frames) + index, frame, name)
            for number, name in enumerate(self.judges)
            for index, frame in enumerate(frames)
        ]

    def known(self, part: Part) -> Any | None:  # noqa: ARG002
        """Nothing is remembered: both models are asked."""
        return None

    def request(self, parts: Sequence[Part]) -> tuple[bytes, Mapping[str, object]]:
        """As the model of that group wants it."""
        return self._judge_of(parts)[1].request([part.data for part in parts])

    def answers(self, parts: Sequence[Part], result: ProcessorResult) -> Sequence[FrameScores]:
        """As the model of that group gives them."""
        return self._judge_of(parts)[1].answers(len(parts), result)

    def refuse(self, parts: Sequence[Part], result: ProcessorResult) -> None:
        """A missing device stops everything; other failures are noted by model."""
        require_device(result)
        name, _ = self._judge_of(parts)
        for part in parts:
            self.failed_by.setdefault(part.asset_id, {}).setdefault(name, result)

    def merge(
        self,
        asset: MediaAsset,
        prepared: ProcessorResult,  # noqa: ARG002  # one signature for all staged workloads
        answers: Sequence[FrameScores],
    ) -> ProcessorResult:
        """One judgement per model, and the picture of the frame on which scores are highest."""
        pictures = self._pictures.pop(asset.asset_id)
        count = len(pictures)
        judgements: dict[str, object] = {}
        frame_scores: list[list[float]] = []
        for number, (name, judge) in enumerate(self.judges.items()):
            mine = answers[number * count : (number + 1) * count]
            judgements[name] = judgement_of(judge, mine)
            frame_scores.append([_alarm(judge, one) for one in mine])
        shown = max(range(count), key=lambda at: max(scores[at] for scores in frame_scores))
        return ProcessorResult(Code.OK, attributes=judgements, preview=pictures[shown])

    def _judge_of(self, parts: Sequence[Part]) -> tuple[Side, Judge]:
        name = parts[0].group
        return next((side, judge) for side, judge in self.judges.items() if side == name)


def judgement_of(judge: Judge, frames: Sequence[FrameScores]) -> Judgement:
    """What a model says of one media asset, over all of its frames."""
    verdict, scores = judge.verdict(frames)
    return Judgement(
        verdict=verdict,
        scores=scores,
        levels=levels_of(scores, judge.manifest.thresholds),
        seconds=sum(one.seconds for one in frames) / len(frames),
        ran_on=f"{frames[0].device} {frames[0].dtype}",
    )


def same_frames(settings: Settings, judges: Mapping[Side, Judge]) -> bool:
    """Whether both models want their frames made alike."""
    wanted = [frame_params(settings, judge.manifest) for judge in judges.values()]
    return all(one == wanted[0] for one in wanted)


def judged_pairs(
    settings: Settings,
    judges: Mapping[Side, Judge],
    pages: Iterable[Sequence[SampledMedia]],
    *,
    store: ObjectStore,
    pool: Pool,
) -> Iterator[Pair]:
    """Both models on every media asset of a sample, a chunk at a time.

    What is wrong with one media asset is in its pair; only SystemicError leaves the stream.
    """
    chunks = (page[at : at + CHUNK] for page in pages for at in range(0, len(page), CHUNK))
    for chunk in chunks:
        scratch = Path(
            tempfile.mkdtemp(prefix="media-pipeline-canary-", dir=settings.processing.scratch_dir)
        )
        try:
            source = SourceMedia(store, scratch, max_bytes=settings.object_store.max_object_bytes)
            yield from _chunk_pairs(settings, judges, chunk, source, pool)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _chunk_pairs(
    settings: Settings,
    judges: Mapping[Side, Judge],
    chunk: Sequence[SampledMedia],
    source: SourceMedia,
    pool: Pool,
) -> Iterator[Pair]:
    alike = same_frames(settings, judges)
    passes = [judges] if alike else [{side: judge} for side, judge in judges.items()]
    found: dict[str, dict[Side, Judgement | Failed]] = {}
    pictures: dict[str, bytes | None] = {}
    for group in passes:
        work = JudgingWork(settings, group)
        outcomes = process_staged_batch(
            work,
            [Claim(one.asset, fence=0, attempts=0, previous_status="") for one in chunk],
            fetch=source.fetch,
            pool=pool,
            fetch_threads=settings.object_store.transfer_threads,
        )
        for outcome in outcomes:
            found.setdefault(outcome.asset_id, {}).update(_sides(work, outcome))
            if outcome.result.preview is not None:
                pictures[outcome.asset_id] = outcome.result.preview
    for one in chunk:
        sides, recorded = found[one.asset.asset_id], one.attributes.get("verdict")
        yield Pair(
            one.asset.asset_id,
            sides.get("current"),
            sides.get("candidate"),
            str(recorded) if recorded else None,
            pictures.get(one.asset.asset_id),
        )


def _sides(work: JudgingWork, outcome: Outcome) -> dict[Side, Judgement | Failed]:
    """The judgements of one pass, or who failed and why: a file or frames that cannot be had
    fail every model."""
    result = outcome.result
    if result.code is Code.OK:
        return {
            side: one for side in SIDES if isinstance(one := result.attributes.get(side), Judgement)
        }
    failed = work.failed_by.get(outcome.asset_id) or dict.fromkeys(work.judges, result)
    return {side: Failed(str(one.code), one.message) for side, one in failed.items()}


def blurred(frame: bytes, side: int) -> bytes:
    """A frame as a PNG of so few pixels that nothing in it can be recognised or recovered.

    Averaged down, not filtered: what is not in the pixels that are left is nowhere.
    """
    from PIL import Image, ImageFilter

    blue, green, red = Image.frombytes("RGB", (side, side), frame).split()
    picture = Image.merge("RGB", (red, green, blue)).resize(
        (_BLURRED_SIDE, _BLURRED_SIDE), Image.Resampling.BOX
    )
    buffer = io.BytesIO()
    picture.filter(ImageFilter.GaussianBlur(1)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _alarm(judge: Judge, frame: FrameScores) -> float:
    """The highest score of a label that has thresholds."""
    limits = judge.manifest.thresholds
    rows = zip(judge.manifest.labels, frame.scores, strict=True)
    return max((score for label, score in rows if label in limits), default=0.0)
