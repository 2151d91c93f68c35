"""`enrichment`: how each media asset of the batch ends, recorded once, told once."""

# No postponed annotations: Dagster reads the real ones of decorated functions.

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import get_args

import dagster as dg

from media_pipeline import __version__
from media_pipeline.assets.batch import Batch, claim_batch
from media_pipeline.assets.checks import check_events, check_specs, freshness_policy
from media_pipeline.assets.derived_media import GROUP
from media_pipeline.assets.ledger_table import LEDGER_TABLE, ledger_columns
from media_pipeline.contracts.asset_enriched import build_asset_enriched
from media_pipeline.domain.identity import dead_letter_id
from media_pipeline.domain.outcome import (
    Code,
    Derivative,
    Derivatives,
    Status,
    Verdict,
    verdict,
)
from media_pipeline.domain.ports import AssetResult, Claim, DeadLetterEntry, MetadataStore
from media_pipeline.domain.reconciliation import LedgerAudit
from media_pipeline.domain.results import Results
from media_pipeline.partitions import media_assets_partitions
from media_pipeline.settings import Settings
from media_pipeline.telemetry.spans import Recorder

METADATA_IO_MANAGER = "metadata_io_manager"
VERDICT_CHECK = "batch_verdict"
_STATUSES = get_args(Status)


def build_enrichment_asset(settings: Settings) -> dg.AssetsDefinition:
    """The Dagster asset that joins the workloads; downstream of each of them."""
    topic = settings.kafka.enriched_topic

    @dg.asset(
        ins={kind: dg.AssetIn(dagster_type=Derivatives) for kind in settings.workloads},
        description=(
            "Outcome of each media asset: ledger rows of all derivatives and the follow-up"
            " event or the dead letter, in one transaction. Materialized for complete and"
            " partial media assets only."
        ),
        partitions_def=media_assets_partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.batch.max_keys),
        io_manager_key=METADATA_IO_MANAGER,
        group_name=GROUP,
        kinds={"python", "postgres", "kafka"},
        tags={"workload": "enrichment"},
        owners=["team:media-processing"],
        code_version=__version__,
        metadata={"dagster/table_name": LEDGER_TABLE, "dagster/column_schema": ledger_columns()},
        freshness_policy=freshness_policy(settings.checks),
        check_specs=[
            dg.AssetCheckSpec(
                VERDICT_CHECK,
                asset="enrichment",
                blocking=True,
                description="Fails the run while media assets wait for a retry; warns of dead"
                " letters, which are a handled outcome.",
            ),
            *check_specs("enrichment"),
        ],
    )
    def enrichment(
        context: dg.AssetExecutionContext,
        traces: dg.ResourceParam[Recorder],  # noqa: ARG001  # records while the step lives
        batch: dg.ResourceParam[Batch],
        metadata_store: dg.ResourceParam[MetadataStore],
        ledger_audit: dg.ResourceParam[LedgerAudit],
        **by_kind: Derivatives,
    ) -> Iterator[dg.Output[Results] | dg.AssetCheckResult]:
        claims = claim_batch(context, batch, metadata_store)
        ordered: dict[str, Derivatives] = {kind: by_kind[kind] for kind in settings.workloads}
        results = judge(claims, ordered, context.run.run_id, topic)
        missing = len(batch.keys_of(context)) - len(claims)
        yield dg.Output(results)
        recorded = sum(result.event is not None for result in results)
        yield check_events(ledger_audit, settings.checks, recorded)
        yield _batch_verdict(results, missing)

    return enrichment


def judge(
    claims: Sequence[Claim],
    by_kind: Mapping[str, Mapping[str, Derivative]],
    run_id: str,
    enriched_topic: str,
) -> Results:
    """One result per claim, from the derivatives of every kind. Pure but for the clock."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Results(_result(claim, by_kind, run_id, enriched_topic, now) for claim in claims)


def _result(
    claim: Claim,
    by_kind: Mapping[str, Mapping[str, Derivative]],
    run_id: str,
    enriched_topic: str,
    now: str,
) -> AssetResult:
    asset = claim.asset
    rows = []
    for kind, derivatives in by_kind.items():
        row = derivatives.get(asset.asset_id)
        # A row of another content version says nothing of this one.
        if row is None or row.content_version != asset.content_version:
            decided = Verdict("retry", kind, Code.TRANSIENT, f"{kind} was not materialized")
            return AssetResult(
                asset.asset_id, asset.content_version, claim.fence, decided, None, 0, ()
            )
        rows.append(row)
    decided = verdict(rows)
    event = letter = None
    if decided.status in ("complete", "partial"):
        event = build_asset_enriched(
            asset, decided, rows, run_id=run_id, occurred_at=now, topic=enriched_topic
        )
    elif decided.status == "dead_lettered":
        letter = DeadLetterEntry(
            dlq_id=dead_letter_id(
                asset.asset_id, asset.content_version, decided.stage, decided.code
            ),
            stage=decided.stage,
            code=decided.code,
            error_class="permanent",
            message=decided.message,
        )
    return AssetResult(
        asset_id=asset.asset_id,
        content_version=asset.content_version,
        fence=claim.fence,
        verdict=decided,
        content_digest=next((row.input_digest for row in rows if row.input_digest), None),
        size_bytes=max((row.input_bytes for row in rows), default=0),
        derivatives=tuple(rows),
        event=event,
        dead_letter=letter,
    )


def _batch_verdict(results: Results, unknown_keys: int) -> dg.AssetCheckResult:
    statuses: Counter[str] = Counter(result.verdict.status for result in results)
    waiting = [result for result in results if result.verdict.status == "retry"]
    dead = [result for result in results if result.verdict.status == "dead_lettered"]
    passed = not waiting and not unknown_keys
    return dg.AssetCheckResult(
        passed=passed and not dead,
        severity=dg.AssetCheckSeverity.WARN if passed else dg.AssetCheckSeverity.ERROR,
        check_name=VERDICT_CHECK,
        description=_said(statuses, unknown_keys),
        metadata={
            # Numbers of their own: the UI draws these, and shows the rest on a click.
            **{status: statuses[status] for status in _STATUSES},
            "statuses": dg.MetadataValue.json(dict(sorted(statuses.items()))),
            "unknown_keys": unknown_keys,
            "waiting_for_retry": dg.MetadataValue.json(_reasons(waiting)),
            "dead_letters": dg.MetadataValue.json(_reasons(dead)),
        },
    )


def _said(statuses: Counter[str], unknown_keys: int) -> str:
    """What a person reads first: `33 complete, 6 dead_lettered`."""
    parts = [f"{statuses[status]} {status}" for status in _STATUSES if statuses[status]]
    if unknown_keys:
        parts.append(f"{unknown_keys} not in the ledger: announce them, they have no source")
    return ", ".join(parts) or "nothing to do"


def _reasons(results: Sequence[AssetResult]) -> dict[str, str]:
    """The first fifty, enough to see a pattern; the ledger has them all."""
    return {
        result.asset_id: f"{result.verdict.stage}/{result.verdict.code}: {result.verdict.message}"
        for result in results[:50]
    }
