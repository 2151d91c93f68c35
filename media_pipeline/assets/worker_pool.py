"""The cage as a Dagster resource: one warm worker pool per run process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from media_pipeline.settings import Settings
from media_pipeline.telemetry.phases import cpu_seconds
from media_pipeline.workers.lanes import LaneName
from media_pipeline.workers.limits import WorkerLimits
from media_pipeline.workers.pool import WorkerPool

#: What the run's last log line about itself starts with; JSON follows.
CPU_SECONDS = "CPU seconds of this run by phase: "


class WorkerPoolResource(dg.ConfigurableResource[WorkerPool]):
    """Starts the pool with the run and ends every worker with it."""

    workers: int = Field(default=0, description="Worker processes; 0 = CPUs of this process.")
    memory_bytes: int = Field(description="Address space of one worker.")
    recycle_tasks: int = Field(description="A worker is replaced after this many files.")

    readable: list[str] = Field(default_factory=list, description="More paths it may read.")
    accelerators: int = Field(default=1, description="Processes that use the GPU at a time.")

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[WorkerPool]:
        with _pool(
            self.workers, self.memory_bytes, self.recycle_tasks, self.readable, self.accelerators
        ) as pool:
            yield pool
            if context.log:
                pool.close()  # workers tell their memory as they end
                context.log.info("worker pool: %s; cage: %s", dict(pool.stats), dict(pool.cage))
                context.log.info("throughput: %s", json.dumps(pool.usage.summary()))
                for part, what in pool.cage.items():
                    if what.startswith("not confined"):
                        context.log.warning("decoders reach %s: %s", part, what)
                context.log.info("%s%s", CPU_SECONDS, json.dumps(cpu_seconds()))


def build_worker_pool(settings: Settings, readable: Sequence[str]) -> WorkerPool:
    """The same pool without Dagster, for commands; a context manager."""
    processing = settings.processing
    return _pool(
        processing.workers,
        processing.worker_memory_bytes,
        processing.worker_recycle_tasks,
        readable,
        settings.moderation.accelerators,
    )


def _pool(
    workers: int, memory_bytes: int, recycle_tasks: int, readable: Sequence[str], accelerators: int
) -> WorkerPool:
    limits = WorkerLimits(
        memory_bytes=memory_bytes, recycle_tasks=recycle_tasks, readable=tuple(readable)
    )
    lanes: dict[LaneName, int] = {"accelerator": accelerators}
    return WorkerPool(workers or None, limits, lane_sizes=lanes)
