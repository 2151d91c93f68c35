"""Who works on what while a candidate is judged: a second code location of the same Dagster.

`media_events_sensor` alone reads the topic. It registers every media asset; those of the
candidate's share it does not launch but holds in the ledger, for a scope that names the share.
The candidate's sensor launches what is held for it and what its own runs have lost. Who takes
what is thus decided once, durably, in one place; two sensors never have to agree on an offset.

When the share changes, what was held for the former one is released, and each of the two takes
its part of it by the new share: with 0 everything goes back. Both look at the same runs and
claim through the same ledger, so that nothing is lost or recorded twice in between.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from media_pipeline.batch_tags import CANARY_TAG
from media_pipeline.domain.identity import in_share
from media_pipeline.run_retries import ERROR_TAG, STOPPED, STOPPED_TAG
from media_pipeline.settings import CanarySettings

#: A candidate whose run was stopped by a systemic error rests this long: it has no breaker.
REST = timedelta(minutes=10)


def scope_of_share(share: int) -> str:
    """What media assets of the candidate's share are held for."""
    return f"canary:{share}"


def is_ours(asset_id: str, canary: CanarySettings) -> bool:
    """Whether this code location works on it: of two with one share, exactly one does."""
    return in_share(asset_id, canary.share) is canary.candidate


def left_to_others(canary: CanarySettings) -> list[str]:
    """Scopes that this code location does not look into."""
    return [] if canary.candidate or not canary.share else [scope_of_share(canary.share)]


def why_it_rests(instance: dg.DagsterInstance) -> str:
    """Why the candidate launches nothing, else empty. Main's intake does not notice."""
    stopped = instance.get_run_records(
        dg.RunsFilter(
            tags={STOPPED_TAG: STOPPED, CANARY_TAG: "true"},
            updated_after=datetime.now(UTC) - REST,
        ),
        limit=1,
    )
    if not stopped:
        return ""
    run = stopped[0].dagster_run
    return (
        f"The candidate's run {run.run_id} stopped: {run.tags.get(ERROR_TAG, 'no message')}"
        f" The candidate rests {REST.seconds // 60} minutes; its share waits. Mend it, or drop it:"
        " MEDIA_PIPELINE_CANARY__SHARE=0 gives the share back."
    )
