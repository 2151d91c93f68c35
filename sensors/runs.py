"""Words about runs that several sensors share."""

from __future__ import annotations

import dagster as dg

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)
#: Set by Dagster on a run that failed: "true" until its retries are used up.
WILL_RETRY_TAG = "dagster/will_retry"
