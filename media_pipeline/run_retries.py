"""Run retries follow the error taxonomy: transient errors are retried, systemic ones must not be.

Permanent errors fail no run. How often is told by the instance (`run_retries`) or by the run's
tag; runs of `enrich_media_job` have both tags from the start, a backfill that somebody starts in
the UI has none, because Dagster's own job carries no tags: its run gives them to itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg

from media_pipeline.errors import SystemicError

MAX_RETRIES_TAG = "dagster/max_retries"
RETRY_STRATEGY_TAG = "dagster/retry_strategy"
#: All steps: claims make finished work cheap, and the failures of the first try are only known to
#: the run that saw them. From the failed step on, Dagster's default, they would never be found.
RETRIES: Mapping[str, str] = {MAX_RETRIES_TAG: "2", RETRY_STRATEGY_TAG: "ALL_STEPS"}
#: On runs that a systemic error ended: the sensors open a breaker for its code.
STOPPED_TAG, STOPPED = "media/stopped", "systemic"
ERROR_CODE_TAG, ERROR_TAG = "media/error_code", "media/error"
#: PostgreSQL indexes tag values and refuses more than about 2.7 kB.
_MAX_TAG = 600


def ask_for_retries(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Tags that `run` lacks, as its record is now: what a step before has set stays."""
    missing = {name: value for name, value in RETRIES.items() if name not in run.tags}
    if missing:
        instance.add_run_tags(run.run_id, missing)


def stop_run_retries(instance: dg.DagsterInstance, run_id: str) -> None:
    """Whatever this run ends with, the daemon does not launch it again."""
    instance.add_run_tags(run_id, {MAX_RETRIES_TAG: "0"})


@contextmanager
def systemic_errors_stop_retries(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Let a SystemicError pass, but mark the run first: a retry would only repeat it."""
    try:
        yield
    except SystemicError as error:
        instance.add_run_tags(
            run_id,
            {
                MAX_RETRIES_TAG: "0",
                STOPPED_TAG: STOPPED,
                ERROR_CODE_TAG: error.code,
                ERROR_TAG: str(error)[:_MAX_TAG],
            },
        )
        raise
