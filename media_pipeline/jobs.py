"""The jobs: what sensors and people launch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from media_pipeline.run_retries import RETRIES

ENRICH_MEDIA_JOB = "enrich_media_job"

#: What `define_asset_job` answers; Dagster publishes no name for it.
EnrichMediaJob = Any


def build_enrich_media_job(
    workloads: Sequence[str], executor: dg.ExecutorDefinition = dg.in_process_executor
) -> EnrichMediaJob:
    """All workloads over one batch of asset partitions.

    Retries: the run as a whole, at most twice; a systemic error sets the tag to 0 first.
    """
    return dg.define_asset_job(
        ENRICH_MEDIA_JOB,
        selection=dg.AssetSelection.assets(*workloads, "enrichment"),
        description=f"Enrich one batch of media assets: {', '.join(workloads)}, then the ledger.",
        tags=RETRIES,
        executor_def=executor,
    )
