"""One JSON line for each media asset that a run has ended, beside Dagster's own log.

`kubectl logs` of a run's pod then answers questions about one media asset, and a log store
finds it by `asset_id`, `run_id` or `trace_id`. The form is that of `telemetry.logs`, without
its logger: logging of a run belongs to Dagster, which has set it up before us.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from media_pipeline.batch_tags import LANE_TAG
from media_pipeline.domain.ports import AssetResult, Recorded
from media_pipeline.domain.redaction import redact_fields
from media_pipeline.telemetry.traces import trace_id_of

#: What somebody may have to look at.
_NOTABLE = ("dead_lettered", "retry")


def tell_outcomes(
    results: Iterable[AssetResult],
    recorded: Sequence[Recorded],
    run_id: str,
    tags: Mapping[str, str],
    stream: TextIO | None = None,
) -> None:
    """Write the lines to `stream` (standard error). `tags` are the run's, for its lane.

    Fields: `asset_id`, `content_version`, `run_id`, `trace_id` (32 hex digits), `lane`,
    `status`, `seconds` of all processors, `codes` by kind; of failures `stage`, `code` and
    `message`; `refused` where the ledger did not take the result.
    """
    refused = {
        (row.asset_id, row.content_version): row.reason for row in recorded if not row.accepted
    }
    target = stream or sys.stderr
    for result in results:
        reason = refused.get((result.asset_id, result.content_version))
        notable = reason is not None or result.verdict.status in _NOTABLE
        line = {
            "event": "media asset ended" if reason is None else "media asset refused",
            "level": "warning" if notable else "info",
            "logger": "media_pipeline.outcomes",
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "run_id": run_id,
            "lane": tags.get(LANE_TAG, ""),
            **_fields(result),
            **({} if reason is None else {"refused": reason}),
        }
        print(json.dumps(redact_fields(line)), file=target)
    target.flush()


def _fields(result: AssetResult) -> dict[str, Any]:
    decided = result.verdict
    fields: dict[str, Any] = {
        "asset_id": result.asset_id,
        "content_version": result.content_version,
        "trace_id": f"{trace_id_of(result.asset_id, result.content_version):032x}",
        "status": decided.status,
        "codes": {row.kind: str(row.code) for row in result.derivatives},
        "seconds": round(sum(row.seconds for row in result.derivatives), 3),
    }
    if decided.status != "complete":
        fields |= {"stage": decided.stage, "code": str(decided.code), "message": decided.message}
    return fields
