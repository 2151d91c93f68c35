"""Composition root: settings in, one Dagster `Definitions` out. Wires, decides nothing.

`build_defs(resource_overrides=...)` is the seam that tests use. `defs` is built when
Dagster calls it, so that importing this module reads no environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import dagster as dg

from media_pipeline.assets.derived_media import build_derived_media_asset
from media_pipeline.assets.enrichment import build_enrichment_asset
from media_pipeline.assets.moderation import build_moderation_asset
from media_pipeline.assets.moderation_work import model_directory
from media_pipeline.assets.ocr import build_ocr_asset
from media_pipeline.assets.source_media import SourceMediaResource
from media_pipeline.assets.worker_pool import WorkerPoolResource
from media_pipeline.executors import build_executor
from media_pipeline.jobs import EnrichMediaJob, build_enrich_media_job
from media_pipeline.reconcile_job import build_reconcile_job, build_reconcile_schedule
from media_pipeline.settings import Settings, load_settings
from resources.dagster_resources import build_resources
from resources.devices import read_devices
from sensors.daily_checks import build_daily_checks_job, build_daily_checks_schedule
from sensors.media_events import build_media_events_sensor
from sensors.outbox_relay import build_outbox_relay_sensor
from sensors.retirement import build_retirement_sensor
from sensors.run_failures import build_run_failures_sensor
from sensors.run_retention import build_run_retention_sensor
from sensors.scaling import build_scaling_sensor
from sensors.stragglers import build_stragglers_sensor


def build_defs(
    settings: Settings | None = None, *, resource_overrides: Mapping[str, object] | None = None
) -> dg.Definitions:
    """All assets, jobs, sensors and resources; overrides replace resources by key."""
    settings = settings or load_settings()
    executor = build_executor(settings.runs)
    job = build_enrich_media_job(settings.workloads, executor)
    automation = (_of_a_candidate if settings.canary.candidate else _of_all)(settings, job)
    resources = build_resources(settings)
    return dg.Definitions(
        assets=dg.with_source_code_references(
            [
                *(_workload_asset(kind, settings) for kind in settings.workloads),
                build_enrichment_asset(settings),
            ]
        ),
        jobs=automation.jobs,
        schedules=automation.schedules,
        sensors=automation.sensors,
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
                readable=_worker_readable(settings),
                accelerators=settings.moderation.accelerators,
            ),
            **(resource_overrides or {}),
        },
        # Backfills from the UI use Dagster's implicit job: without this each step would be a
        # process of its own, with its own downloads and worker pool.
        executor=executor,
    )


class _Automation(NamedTuple):
    """What starts by itself, and the jobs it starts."""

    jobs: list[EnrichMediaJob]
    schedules: list[dg.ScheduleDefinition]
    sensors: list[dg.SensorDefinition]


def _of_all(settings: Settings, job: EnrichMediaJob) -> _Automation:
    daily_checks_job = build_daily_checks_job(settings, read_devices)
    reconcile_job = build_reconcile_job(settings)
    return _Automation(
        jobs=[job, daily_checks_job, reconcile_job],
        schedules=[
            build_daily_checks_schedule(settings, daily_checks_job),
            build_reconcile_schedule(reconcile_job),
        ],
        sensors=[
            build_media_events_sensor(settings, job),
            *_relay_sensors(settings),
            build_run_failures_sensor(settings),
            build_retirement_sensor(settings),
            build_run_retention_sensor(settings),
            build_scaling_sensor(settings),
            build_stragglers_sensor(settings, job),
        ],
    )


def _of_a_candidate(settings: Settings, job: EnrichMediaJob) -> _Automation:
    """Its share of the work; what is one of a kind is done by the code location beside it."""
    return _Automation([job], [], [build_stragglers_sensor(settings, job)])


def _relay_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """None where `media-pipeline relay` runs."""
    return [build_outbox_relay_sensor(settings)] if settings.batch.outbox_relay == "sensor" else []


def _workload_asset(kind: str, settings: Settings) -> dg.AssetsDefinition:
    if kind == "ocr":
        return build_ocr_asset(settings)
    if kind == "moderation":
        return build_moderation_asset(settings)
    return build_derived_media_asset(kind, settings)


def _worker_readable(settings: Settings) -> list[str]:
    """What workers may read beside libraries: models, and language packs of one's own."""
    packs = settings.processing.ocr_tessdata
    return [str(model_directory(settings)), *([packs] if packs else [])]


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster` and `dg` load."""
    return build_defs()
