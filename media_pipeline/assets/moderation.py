"""`moderation`: a verdict on images and on the first pages of PDFs.

Artifact: `moderation.json`,
    {"schema": 1, "model": {"name", "version", "sha256"}, "thresholds": {...},
     "verdict": "allow|review|block", "scores": {label: 0..1, the highest of all frames},
     "frames": [{"source": "image" or "page 1", "scores": {label: 0..1}}]}
"""

# No postponed annotations: Dagster reads the real ones of decorated functions.

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from media_pipeline.assets.batch import Batch, claim_batch
from media_pipeline.assets.derived_media import GROUP, OBJECT_STORE_IO_MANAGER
from media_pipeline.assets.source_media import SourceMedia
from media_pipeline.assets.staged_workload import Part, StageSpec, process_staged_batch
from media_pipeline.assets.workload import Pool
from media_pipeline.domain.media_asset import MediaAsset
from media_pipeline.domain.outcome import Artifact, Code, Outcomes, ProcessorResult
from media_pipeline.domain.ports import MetadataStore, ObjectStore
from media_pipeline.errors import PermanentError, SystemicError
from media_pipeline.fingerprints import current_model, frame_params, workload_fingerprint
from media_pipeline.models.registry import ModelManifest
from media_pipeline.partitions import media_assets_partitions
from media_pipeline.processing.json_artifact import unpacked_json
from media_pipeline.processing.moderation import verdict_of, worst_scores
from media_pipeline.run_retries import systemic_errors_stop_retries
from media_pipeline.settings import Settings

KIND, PREPARE = "moderation", "frames"


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


class ModerationWork:
    """Moderation as a staged workload, with a model file that was verified."""

    def __init__(self, settings: Settings, manifest: ModelManifest, model: Path) -> None:
        self._manifest = manifest
        self._model = model
        self._choice = settings.moderation
        self._batch = settings.processing.moderation_batch
        on_gpu = settings.moderation.device == "cuda"
        self.spec = StageSpec(
            kind=KIND,
            fingerprint=workload_fingerprint(KIND, settings),
            prepare_kind=PREPARE,
            prepare_params=frame_params(settings, manifest),
            prepare_deadline_seconds=settings.processing.moderation_frame_deadline_seconds,
            read_deadline_seconds=settings.processing.moderation_deadline_seconds,
            lane="accelerator" if on_gpu else "inference",
            group_size=settings.processing.moderation_batch,
        )

    def plan(self, asset: MediaAsset) -> ProcessorResult | Mapping[str, object]:  # noqa: ARG002
        """Every file is looked at; the frames stage knows which have a picture."""
        return {}

    def parts(self, asset: MediaAsset, prepared: ProcessorResult) -> Sequence[Part]:
        """One part per frame."""
        size = self._manifest.crop**2 * 3
        data = prepared.artifacts[0].data
        return [
            Part(asset.asset_id, index, data[at : at + size])
            for index, at in enumerate(range(0, len(data), size))
        ]

    def known(self, part: Part) -> Any | None:  # noqa: ARG002
        """A forward pass is cheaper than asking."""
        return None

    def request(self, parts: Sequence[Part]) -> tuple[bytes, Mapping[str, object]]:
        """All frames in one, and which model to use."""
        return b"".join(part.data for part in parts), {
            "path": str(self._model),
            "sha256": self._manifest.sha256,
            "labels": list(self._manifest.labels),
            "mean": list(self._manifest.mean),
            "side": self._manifest.crop,
            "device": self._choice.device,
            "dtype": self._choice.dtype,
            "batch": self._batch,
        }

    def answers(self, parts: Sequence[Part], result: ProcessorResult) -> Sequence[Any]:
        """(scores, device, dtype) per frame."""
        scores = unpacked_json(result.artifacts[0].data)["scores"]
        used = (result.attributes["device"], result.attributes["dtype"])
        return [(row, *used) for row, _ in zip(scores, parts, strict=True)]

    def merge(
        self,
        asset: MediaAsset,  # noqa: ARG002  # one signature for all staged workloads
        prepared: ProcessorResult,
        answers: Sequence[Any],
    ) -> ProcessorResult:
        """The strictest verdict over all frames."""
        manifest = self._manifest
        labels, rows = manifest.labels, [row for row, _, _ in answers]
        scores = worst_scores(labels, rows)
        verdict = verdict_of(scores, manifest.thresholds)
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
                {"source": source, "scores": worst_scores(labels, [row])}
                for source, row in zip(sources, rows, strict=True)
            ],
        }  # fmt: skip
        packed = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        return ProcessorResult(
            Code.OK,
            artifacts=(Artifact("moderation.json", "application/json", packed),),
            attributes={
                "verdict": verdict,
                "scores": scores,
                "frames": len(rows),
                "model": manifest.reference,
                "device": answers[0][1],
                "dtype": answers[0][2],
            },
        )

    def refuse(self, result: ProcessorResult) -> None:
        """A device that is demanded and not there: nothing will succeed until it is."""
        if result.code is Code.UNSUPPORTED:
            raise SystemicError(
                f"moderation cannot run: {result.message}.",
                remedy="schedule the run on a GPU node, or set"
                " MEDIA_PIPELINE_MODERATION__DEVICE=auto.",
                code="device_missing",
            )


def build_moderation_asset(settings: Settings) -> dg.AssetsDefinition:
    """The Dagster asset `moderation`; without a model its runs stop and say what to do."""
    manifest = current_model(settings)
    fetch_threads = settings.object_store.transfer_threads

    @dg.asset(
        name=KIND,
        description=(
            "Moderation verdict (allow, review, block) with scores per label, on images and the"
            " first pages of PDFs, by the model that the registry names as current:"
            f" {manifest.reference if manifest else 'none yet'}."
        ),
        partitions_def=media_assets_partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.batch.max_keys),
        io_manager_key=OBJECT_STORE_IO_MANAGER,
        group_name=GROUP,
        kinds={"python", "pytorch", "s3"},
        tags={"workload": KIND},
        owners=["team:media-processing"],
        code_version=workload_fingerprint(KIND, settings),
        pool=KIND,
    )
    def moderation(
        context: dg.AssetExecutionContext,
        batch: dg.ResourceParam[Batch],
        metadata_store: dg.ResourceParam[MetadataStore],
        object_store: dg.ResourceParam[ObjectStore],
        source_media: dg.ResourceParam[SourceMedia],
        worker_pool: dg.ResourceParam[Pool],
    ) -> Outcomes:
        with systemic_errors_stop_retries(context.instance, context.run.run_id):
            work = ready_work(settings, manifest, object_store)
        claims = claim_batch(context, batch, metadata_store)
        return process_staged_batch(
            work, claims, fetch=source_media.fetch, pool=worker_pool, fetch_threads=fetch_threads
        )

    return moderation


def ready_work(
    settings: Settings, manifest: ModelManifest | None, store: ObjectStore
) -> ModerationWork:
    """The work with its model on local disk; SystemicError `model_missing` without one."""
    if manifest is None:
        raise SystemicError(
            "moderation has no model: the registry names none.",
            remedy="`media-pipeline models import opennsfw`, or leave moderation out of"
            " MEDIA_PIPELINE_WORKLOADS.",
            code="model_missing",
        )
    return ModerationWork(
        settings, manifest, fetch_model(manifest, store, model_directory(settings))
    )
