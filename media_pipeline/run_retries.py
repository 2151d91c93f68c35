"""Run retries follow the error taxonomy: a systemic error must not be retried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from media_pipeline.errors import SystemicError

MAX_RETRIES_TAG = "dagster/max_retries"
#: On runs that a systemic error ended: the sensors open a breaker for its code.
STOPPED_TAG, STOPPED = "media/stopped", "systemic"
ERROR_CODE_TAG, ERROR_TAG = "media/error_code", "media/error"
#: PostgreSQL indexes tag values and refuses more than about 2.7 kB.
_MAX_TAG = 600


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
