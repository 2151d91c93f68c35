"""Which partition keys a run works on: one place for range runs and set runs.

- *range run*: the run's own partition range (sensor batches of new keys, UI backfills).
  The sensor adds a digest of the keys; a range that no longer resolves to exactly
  those keys is refused, because Dagster ranges follow insertion order.
- *set run*: arbitrary keys in this resource's run config (re-ingested keys, scattered
  replays). The run's own partition is only their first, the anchor. Runs of one backfill
  share a run config, so it holds a set by each anchor. `announce` plans what Dagster does not.

Must not be here: what is done with the keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import dagster as dg
from pydantic import Field

from media_pipeline.batch_tags import DIGEST_TAG, with_sets
from media_pipeline.domain.identity import batch_digest
from media_pipeline.errors import SystemicError
from resources.io_managers.partition_events import plan_partitions


class RunContext(Protocol):
    """The part of Dagster's execution context that is needed here."""

    @property
    def run(self) -> dg.DagsterRun: ...

    @property
    def partition_keys(self) -> Sequence[str]: ...


class BatchResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only for factories
    """The keys of this run; configured at launch by set runs, empty otherwise."""

    sets: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Media asset ids of set runs, by the first of each set. Leave empty: the"
        " run's partition range decides.",
    )

    def behind(self, partition_keys: Iterable[str]) -> list[str]:
        """The keys that these partitions of the run stand for."""
        return with_sets(list(partition_keys), self.sets)

    # Not `keys`: pydantic would take the resource for a mapping.
    def keys_of(self, context: RunContext) -> list[str]:
        """The partition keys of this run, in order.

        Raises SystemicError `batch_changed` when they are not those the run was made for.
        """
        keys = self.behind(context.partition_keys)
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

    def announce(self, context: dg.AssetExecutionContext) -> None:
        """Tell Dagster what a set run works on besides its anchors, of all its Dagster assets.

        Called by every step; the first in the order of names that waits for no other does it.
        """
        if not self.sets:
            return
        layer = context.job_def.asset_layer
        selected = set(layer.selected_asset_keys)
        first = min(
            key for key in selected if not layer.asset_graph.get(key).parent_keys & selected
        )
        if context.asset_key == first:
            anchors = set(context.partition_keys)
            others = [key for key in self.behind(context.partition_keys) if key not in anchors]
            plan_partitions(context.instance, context.run, sorted(selected), others)
