"""Traces of a run as a Dagster resource: recorded while it lives, sent when it ends."""

# No postponed annotations: Dagster resolves resource types from the real ones.

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from media_pipeline.settings import load_settings
from media_pipeline.telemetry.spans import Recorder
from media_pipeline.telemetry.traces import tracing


class TracesResource(dg.ConfigurableResource[Recorder | None]):
    """Reads settings when the run starts, so that no token is in Dagster's config."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Recorder | None]:
        with tracing(load_settings().telemetry, context.run_id or "") as recorder:
            yield recorder
