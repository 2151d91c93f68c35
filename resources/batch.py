"""Which partition keys a run works on: one place for range runs and set runs.

- *range run*: the run's own partition range (sensor batches of new keys, UI backfills).
  The sensor adds a digest of the keys; a range that no longer resolves to exactly
  those keys is refused, because Dagster ranges follow insertion order.
- *set run*: an arbitrary key list in this resource's run config (re-ingested keys,
  sparse replays). The run's own partition is only its first key.

Must not be here: what is done with the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import dagster as dg
from pydantic import Field

from media_pipeline.domain.identity import batch_digest
from media_pipeline.errors import SystemicError

DIGEST_TAG = "media/batch_digest"


class RunContext(Protocol):
    """The part of Dagster's execution context that is needed here."""

    @property
    def run(self) -> dg.DagsterRun: ...

    @property
    def partition_keys(self) -> Sequence[str]: ...


class BatchResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only for factories
    """The keys of this run; configured at launch by set runs, empty otherwise."""

    partition_keys: list[str] = Field(
        default_factory=list,
        description="Media asset ids of a set run. Leave empty: the run's partition range decides.",
    )

    @property
    def is_set_run(self) -> bool:
        return bool(self.partition_keys)

    # Not `keys`: pydantic would take the resource for a mapping.
    def keys_of(self, context: RunContext) -> list[str]:
        """The partition keys of this run, in order.

        Raises SystemicError `batch_changed` when they are not those the run was made for.
        """
        keys = list(self.partition_keys or context.partition_keys)
        expected = context.run.tags.get(DIGEST_TAG)
        if expected and batch_digest(keys) != expected:
            raise SystemicError(
                f"this run was made for other keys: its range now resolves to {len(keys)} keys"
                f" ({keys[0]} .. {keys[-1]}) with digest {batch_digest(keys)}, not {expected}.",
                remedy="terminate this run and backfill the missing and failed partitions"
                " of its Dagster assets; the ledger refuses duplicates.",
                code="batch_changed",
            )
        return keys
