"""Composition root: settings in, one Dagster `Definitions` out. Wires, decides nothing.

`build_defs(resource_overrides=...)` is the seam that tests use. `defs` is built when
Dagster calls it, so that importing this module reads no environment.
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from media_pipeline.assets.derived_media import build_derived_media_asset
from media_pipeline.assets.enrichment import build_enrichment_asset
from media_pipeline.assets.source_media import SourceMediaResource
from media_pipeline.assets.worker_pool import WorkerPoolResource
from media_pipeline.jobs import build_enrich_media_job
from media_pipeline.settings import Settings, load_settings
from resources.build import build_resources
from sensors.media_events import build_media_events_sensor
from sensors.outbox_relay import build_outbox_relay_sensor


def build_defs(
    settings: Settings | None = None, *, resource_overrides: Mapping[str, object] | None = None
) -> dg.Definitions:
    """All assets, jobs, sensors and resources; overrides replace resources by key."""
    settings = settings or load_settings()
    job = build_enrich_media_job()
    resources = build_resources(settings)
    return dg.Definitions(
        assets=[
            build_derived_media_asset("text", settings),
            build_derived_media_asset("thumbnails", settings),
            build_enrichment_asset(settings),
        ],
        jobs=[job],
        sensors=[
            build_media_events_sensor(settings, job),
            build_outbox_relay_sensor(settings),
        ],
        resources={
            **resources,
            "source_media": SourceMediaResource(
                object_store=resources["object_store"],
                max_object_bytes=settings.object_store.max_object_bytes,
                scratch_dir=settings.processing.scratch_dir,
            ),
            "worker_pool": WorkerPoolResource(
                workers=settings.processing.workers,
                memory_bytes=settings.processing.worker_memory_bytes,
                recycle_tasks=settings.processing.worker_recycle_tasks,
            ),
            **(resource_overrides or {}),
        },
        # Backfills from the UI use Dagster's implicit job: without this each step would be a
        # process of its own, with its own downloads and worker pool.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster` and `dg` load."""
    return build_defs()
