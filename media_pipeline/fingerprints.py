"""The fingerprint that each workload has under given settings: what its outputs are filed under.

Read by the assets (as code version) and by `media-pipeline stale`, so that both mean the same.
"""

from __future__ import annotations

from pathlib import Path

from media_pipeline.models.registry import ModelManifest, load_registry
from media_pipeline.processing.processors import params_from, processor_fingerprint
from media_pipeline.settings import Settings

NO_MODEL = "moderation-1-no-model"


def expected_fingerprints(settings: Settings) -> dict[str, str]:
    """Workload -> fingerprint, for every workload that is switched on."""
    return {kind: workload_fingerprint(kind, settings) for kind in settings.workloads}


def workload_fingerprint(kind: str, settings: Settings) -> str:
    """Of one workload; languages that single messages ask for are not in it."""
    processing = settings.processing.model_dump()
    if kind == "moderation":
        manifest = current_model(settings)
        if manifest is None:
            return NO_MODEL
        return moderation_fingerprint(settings, manifest)
    prepared = params_from("page_images", processing) if kind == "ocr" else None
    return processor_fingerprint(kind, params_from(kind, processing), prepared)


def moderation_fingerprint(settings: Settings, manifest: ModelManifest) -> str:
    """Of moderation by that model: everything in the manifest that moves a score or a verdict."""
    params = {
        "model": manifest.sha256,
        "labels": list(manifest.labels),
        "mean": list(manifest.mean),
        "deviation": list(manifest.deviation),
        "channels": manifest.channels,
        "thresholds": manifest.thresholds,
    }
    return processor_fingerprint("moderation", params, frame_params(settings, manifest))


def current_model(settings: Settings) -> ModelManifest | None:
    """What the registry names as current; None where there is no registry or no model."""
    registry = settings.moderation.registry_file
    return load_registry(Path(registry) if registry else None).current


def frame_params(settings: Settings, manifest: ModelManifest) -> dict[str, object]:
    """How frames are made for that model."""
    return {
        **params_from("frames", settings.processing.model_dump()),
        "resize": manifest.resize,
        "crop": manifest.crop,
        "jpeg_round_trip": manifest.jpeg_round_trip,
    }
