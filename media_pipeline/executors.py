"""Where the steps of a run execute: in the run's own process, or one pod per workload."""

from __future__ import annotations

import dagster as dg

from media_pipeline.settings import RunSettings


def build_executor(settings: RunSettings) -> dg.ExecutorDefinition:
    """`in_process`: one download and one worker pool serve all workloads of a batch.

    `k8s_job`: each workload is a pod with resources and nodes of its own (a GPU for moderation),
    at the price of a download, a pool and a pod start each. Whatever K8sRunLauncher is told
    holds for these pods too; `step_config` adds to it.
    """
    if settings.executor == "in_process":
        return dg.in_process_executor
    from dagster_k8s import k8s_job_executor  # a second of imports that others need not pay

    return k8s_job_executor.configured(
        {"per_step_k8s_config": dict(settings.step_config)}, name="k8s_job_per_workload"
    )
