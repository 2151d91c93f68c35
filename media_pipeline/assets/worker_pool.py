"""The cage as a Dagster resource: one warm worker pool per run process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from media_pipeline.workers.limits import WorkerLimits
from media_pipeline.workers.pool import WorkerPool


class WorkerPoolResource(dg.ConfigurableResource[WorkerPool]):
    """Starts the pool with the run and ends every worker with it."""

    workers: int = Field(default=0, description="Worker processes; 0 = CPUs of this process.")
    memory_bytes: int = Field(description="Address space of one worker.")
    recycle_tasks: int = Field(description="A worker is replaced after this many files.")

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[WorkerPool]:
        limits = WorkerLimits(memory_bytes=self.memory_bytes, recycle_tasks=self.recycle_tasks)
        with WorkerPool(self.workers or None, limits) as pool:
            yield pool
            if context.log:
                context.log.debug("worker pool: %s", pool.stats)
