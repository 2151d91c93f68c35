"""The batch of a run as the assets see it: its keys and its claims."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import dagster as dg

from media_pipeline.domain.ports import Claim, MetadataStore
from media_pipeline.run_retries import (
    ask_for_retries,
    stop_run_retries,
    systemic_errors_stop_retries,
)
from media_pipeline.telemetry import spans
from media_pipeline.telemetry.phases import phase


class Batch(Protocol):
    """Implemented by `resources.batch.BatchResource`; a plain object in tests."""

    def keys_of(self, context: dg.AssetExecutionContext) -> list[str]: ...

    def announce(self, context: dg.AssetExecutionContext) -> None: ...


def claim_batch(
    context: dg.AssetExecutionContext, batch: Batch, metadata_store: MetadataStore
) -> Sequence[Claim]:
    """Claims for the run's keys; the same run asking again gets the same fences.

    Keys that the ledger does not know have no source to read: they stay unmaterialized
    and are named in the log.
    """
    run = context.run
    started = time.time()
    with systemic_errors_stop_retries(context.instance, run.run_id), phase("claim"):
        keys = batch.keys_of(context)
        batch.announce(context)
        record = context.instance.get_run_record_by_id(run.run_id)
        if record is not None:
            ask_for_retries(context.instance, record.dagster_run)
        claims = metadata_store.claim(
            run.run_id,
            run.root_run_id or run.run_id,
            keys,
            run_created=record.create_timestamp.timestamp() if record else 0.0,
        )
    _note_claims(claims, context.asset_key.path[-1], started, time.time())
    unknown = sorted(set(keys) - {claim.asset.asset_id for claim in claims})
    if unknown:
        stop_run_retries(context.instance, run.run_id)  # a retry would not make them known
        context.log.error(
            "%d of %d keys are not in the ledger and cannot be processed: %s."
            " Remedy: produce a media.ingested.v1 message for each; partitions alone carry"
            " no source.",
            len(unknown),
            len(keys),
            unknown[:20],
        )
    return claims


def _note_claims(claims: Sequence[Claim], step: str, started: float, ended: float) -> None:
    for claim in claims:
        asset = claim.asset
        whose = (asset.asset_id, asset.content_version)
        announced = spans.epoch_of(asset.occurred_at)
        if claim.previous_status == "registered" and announced is not None:
            spans.note("queue wait", *whose, started=announced, ended=started)
        spans.note(
            "claim", *whose, started=started, ended=ended, producer=asset.traceparent,
            step=step, attempts=claim.attempts,
        )  # fmt: skip
