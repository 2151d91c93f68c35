"""Which asset partitions Dagster records as materialized: exactly those that were stored.

Left to itself Dagster 1.13 writes one materialization per key of the run once
`handle_output` returns, all with the same data version, and refuses metadata for keys
outside the run's own range. There is no public way around it while an IO manager is used
(`output_required=False` with `log_event` bypasses IO managers altogether). So the events are
made here: `materializations` yields them one by one with metadata and data version of their
own, and hides the output's asset key so that Dagster adds none. Dagster's internals are
touched in this module and in `input_versions`; the version is pinned, and
tests/unit/resources/io_managers/ fails when a release changes them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
)
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventBatchMetadata,
)

from media_pipeline.telemetry.phases import phase

BACKFILL_TAG = "dagster/backfill"


@dataclass(frozen=True, slots=True)
class Stored:
    """One stored key: its metadata, and what makes two materializations of it equal."""

    metadata: Mapping[str, dg.MetadataValue]
    data_version: str
    code_version: str
    tags: Mapping[str, str] = field(default_factory=dict)


def materializations(
    context: dg.OutputContext, stored: Mapping[str, Stored], shared: Mapping[str, dg.MetadataValue]
) -> Iterator[DagsterEvent]:
    """One materialization event per stored key and no other; `shared` metadata goes on each.

    To be yielded from a generator `handle_output`, as its last act.
    """
    asset_key, step = context.asset_key, context.step_context
    context._asset_key = None  # noqa: SLF001  # else Dagster adds an event per key of the run
    backfill = step.run_tags.get(BACKFILL_TAG)
    batch_id = uuid.uuid4().hex
    for index, (key, row) in enumerate(stored.items()):
        tags = {
            **row.tags,
            DATA_VERSION_TAG: row.data_version,
            DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
            CODE_VERSION_TAG: row.code_version,
        }
        if backfill:
            tags[BACKFILL_TAG] = backfill
        event = dg.AssetMaterialization(
            asset_key, partition=key, metadata={**row.metadata, **shared}, tags=tags
        )
        batch = DagsterEventBatchMetadata(batch_id, index == len(stored) - 1)
        with phase("events"):  # Dagster keeps the event before it asks for the next one
            yield DagsterEvent.asset_materialization(step, event, batch)


def observations(
    context: dg.OutputContext, failed: Mapping[str, Mapping[str, dg.MetadataValue]]
) -> Iterator[DagsterEvent]:
    """One observation per key that is not materialized: why not, on the key's own page.

    Dagster counts these keys as missing, whatever is observed of them. To be yielded before
    `materializations`.
    """
    asset_key, step, batch_id = context.asset_key, context.step_context, uuid.uuid4().hex
    for index, (key, metadata) in enumerate(failed.items()):
        event = dg.AssetObservation(asset_key, partition=key, metadata=metadata)
        batch = DagsterEventBatchMetadata(batch_id, index == len(failed) - 1)
        with phase("events"):
            yield DagsterEvent.asset_observation(step, event, batch)


def plan_partitions(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    asset_keys: Sequence[dg.AssetKey],
    partition_keys: Sequence[str],
) -> None:
    """Say that a run will materialize these partitions of these Dagster assets.

    What is planned is shown as materializing while the run goes on, and as failed when it ends
    badly, however it ends. Dagster plans the partitions that a run's tags name; a set run's name
    its anchor alone.
    """
    planned = [(asset_key, key) for asset_key in asset_keys for key in partition_keys]
    batch_id = uuid.uuid4().hex
    for index, (asset_key, key) in enumerate(planned):
        event = DagsterEvent.build_asset_materialization_planned_event(
            run.job_name,
            "__".join(asset_key.path),
            AssetMaterializationPlannedData(asset_key, partition=key, partitions_subset=None),
        )
        instance.report_dagster_event(
            event,
            run.run_id,
            batch_metadata=DagsterEventBatchMetadata(batch_id, index == len(planned) - 1),
        )
