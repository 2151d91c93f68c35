"""Moderation without Dagster: fetch a model, verify it, let it judge frames, word the verdict.

Shared by the Dagster asset `moderation` and by `moderation_canary`, so that a candidate is
looked at exactly as it would judge. Artifact: `moderation.json`,
    {"schema": 1, "model": {"name", "version", "sha256"}, "thresholds": {...},
     "verdict": "allow|review|block", "scores": {label: 0..1, the highest of all frames},
     "frames": [{"source": "image" or "page 1", "scores": {label: 0..1}}]}
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from media_pipeline.assets.staged_workload import Part, StageSpec
from media_pipeline.domain.media_asset import MediaAsset
from media_pipeline.domain.outcome import Artifact, Code, ProcessorResult
from media_pipeline.domain.ports import ObjectStore
from media_pipeline.errors import PermanentError, SystemicError
from media_pipeline.fingerprints import frame_params, moderation_fingerprint
from media_pipeline.models.registry import ModelManifest
from media_pipeline.processing.json_artifact import unpacked_json
from media_pipeline.processing.moderation import Verdict, verdict_of, worst_scores
from media_pipeline.settings import Settings

KIND, PREPARE = "moderation", "frames"
_GPU_DRIVER = Path("/dev/nvidiactl")


def model_directory(settings: Settings) -> Path:
    """Where model files are kept between runs on this machine."""
    if settings.moderation.model_dir:
        return Path(settings.moderation.model_dir)
    return Path(tempfile.gettempdir()) / f"media-pipeline-models-{os.getuid()}"


def fetch_model(manifest: ModelManifest, store: ObjectStore, directory: Path) -> Path:
    """The model file on local disk, verified; downloaded where it is not there yet.

    SystemicError `model_digest` naming both digests, or `model_missing`.
    """
    path = directory / f"{manifest.sha256}.pt"
    if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == manifest.sha256:
        return path
    try:
        data = store.get(manifest.object_key)
    except PermanentError as error:
        raise SystemicError(
            f"the model {manifest.reference} is not at {manifest.object_key}.",
            remedy="import it again with `media-pipeline models import`, or roll back with"
            " `media-pipeline models rollback`.",
            code="model_missing",
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != manifest.sha256:
        raise SystemicError(
            f"{manifest.object_key} has sha256 {found}, the registry says {manifest.sha256}.",
            remedy="do not use this file: find out who replaced it, then import the model again.",
            code="model_digest",
        )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_bytes(data)
    partial.replace(path)
    return path


class FrameScores(NamedTuple):
    """What a model says of one frame. `seconds`: of its share of the forward pass."""

    scores: list[float]
    device: str
    dtype: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Judge:
    """A model whose file was verified, and how it is run here."""

    manifest: ModelManifest
    model: Path
    device: str
    dtype: str
    batch: int

    def cut(self, packed: bytes) -> list[bytes]:
        """The frames that the first stage made, one by one."""
        size = self.manifest.crop**2 * 3
        return [packed[at : at + size] for at in range(0, len(packed), size)]

    def request(self, frames: Sequence[bytes]) -> tuple[bytes, Mapping[str, object]]:
        """All frames in one, and which model to use."""
        return b"".join(frames), {
            "path": str(self.model),
            "sha256": self.manifest.sha256,
            "labels": list(self.manifest.labels),
            "mean": list(self.manifest.mean),
            "side": self.manifest.crop,
            "device": self.device,
            "dtype": self.dtype,
            "batch": self.batch,
            "channels": self.manifest.channels,
            "deviation": list(self.manifest.deviation),
        }

    def answers(self, count: int, result: ProcessorResult) -> list[FrameScores]:
        """One per frame of a request that ended well."""
        facts = result.attributes
        share = float(str(facts["forward_seconds"])) / max(1, count)
        rows = unpacked_json(result.artifacts[0].data)["scores"]
        used = (str(facts["device"]), str(facts["dtype"]), share)
        return [FrameScores(row, *used) for row, _ in zip(rows, range(count), strict=True)]

    def verdict(self, frames: Sequence[FrameScores]) -> tuple[Verdict, dict[str, float]]:
        """The strictest verdict over all frames, and the scores that it follows from."""
        scores = worst_scores(self.manifest.labels, [one.scores for one in frames])
        return verdict_of(scores, self.manifest.thresholds), scores


def ready_judge(settings: Settings, manifest: ModelManifest, store: ObjectStore) -> Judge:
    """The model, fetched and verified; SystemicError as `fetch_model` raises it."""
    return Judge(
        manifest,
        fetch_model(manifest, store, model_directory(settings)),
        settings.moderation.device,
        settings.moderation.dtype,
        settings.processing.moderation_batch,
    )


def stage_spec(settings: Settings, manifest: ModelManifest) -> StageSpec:
    """Both stages as that model wants them."""
    return StageSpec(
        kind=KIND,
        fingerprint=moderation_fingerprint(settings, manifest),
        prepare_kind=PREPARE,
        prepare_params=frame_params(settings, manifest),
        prepare_deadline_seconds=settings.processing.moderation_frame_deadline_seconds,
        read_deadline_seconds=settings.processing.moderation_deadline_seconds,
        lane="accelerator" if wants_accelerator(settings.moderation.device) else "inference",
        group_size=settings.processing.moderation_batch,
    )


def wants_accelerator(device: str) -> bool:
    """Whether workers must reach a GPU's driver, which no confined worker does.

    `auto` asks for the driver's device file: nothing is loaded in this process for it.
    """
    return device == "cuda" or (device == "auto" and _GPU_DRIVER.exists())


def require_device(result: ProcessorResult) -> None:
    """A device that is demanded and not there: nothing will succeed until it is."""
    if result.code is Code.UNSUPPORTED:
        raise SystemicError(
            f"moderation cannot run: {result.message}.",
            remedy="schedule the run on a GPU node, or set MEDIA_PIPELINE_MODERATION__DEVICE=auto.",
            code="device_missing",
        )


class ModerationWork:
    """Moderation as a staged workload."""

    def __init__(self, settings: Settings, judge: Judge) -> None:
        self._judge = judge
        self.spec = stage_spec(settings, judge.manifest)

    def plan(self, asset: MediaAsset) -> ProcessorResult | Mapping[str, object]:  # noqa: ARG002
        """Every file is looked at; the frames stage knows which have a picture."""
        return {}

    def parts(self, asset: MediaAsset, prepared: ProcessorResult) -> Sequence[Part]:
        """One part per frame."""
        frames = self._judge.cut(prepared.artifacts[0].data)
        return [Part(asset.asset_id, index, frame) for index, frame in enumerate(frames)]

    def known(self, part: Part) -> Any | None:  # noqa: ARG002
        """A forward pass is cheaper than asking."""
        return None

    def request(self, parts: Sequence[Part]) -> tuple[bytes, Mapping[str, object]]:
        """See `Judge.request`."""
        return self._judge.request([part.data for part in parts])

    def answers(self, parts: Sequence[Part], result: ProcessorResult) -> Sequence[FrameScores]:
        """See `Judge.answers`."""
        return self._judge.answers(len(parts), result)

    def merge(
        self,
        asset: MediaAsset,  # noqa: ARG002  # one signature for all staged workloads
        prepared: ProcessorResult,
        answers: Sequence[FrameScores],
    ) -> ProcessorResult:
        """The strictest verdict over all frames."""
        manifest = self._judge.manifest
        verdict, scores = self._judge.verdict(answers)
        sources = prepared.attributes["frames"]
        assert isinstance(sources, list)  # noqa: S101  # made by frames
        document = {
            "schema": 1,
            "model": {
                "name": manifest.name, "version": manifest.version, "sha256": manifest.sha256,
            },
            "thresholds": manifest.thresholds,
            "verdict": verdict,
            "scores": scores,
            "frames": [
                {"source": source, "scores": worst_scores(manifest.labels, [one.scores])}
                for source, one in zip(sources, answers, strict=True)
            ],
        }  # fmt: skip
        packed = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        return ProcessorResult(
            Code.OK,
            artifacts=(Artifact("moderation.json", "application/json", packed),),
            attributes={
                "verdict": verdict,
                "scores": scores,
                "frames": len(answers),
                "model": manifest.reference,
                "device": answers[0].device,
                "dtype": answers[0].dtype,
            },
        )

    def refuse(self, parts: Sequence[Part], result: ProcessorResult) -> None:  # noqa: ARG002
        """See `require_device`."""
        require_device(result)
