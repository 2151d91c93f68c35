"""What the ledger takes is materialized; what it refuses, buries or defers is not."""

from collections.abc import Iterator

import dagster as dg
import pytest

from media_pipeline.assets.enrichment import judge
from media_pipeline.domain.media_asset import MediaAsset, MessageRecord, SourceObject
from media_pipeline.domain.outcome import Code, Derivative, Derivatives
from media_pipeline.domain.ports import Arrival
from media_pipeline.domain.results import Results
from media_pipeline.errors import SystemicError
from media_pipeline.run_retries import MAX_RETRIES_TAG
from resources.batch import BatchResource
from resources.io_managers.metadata import MetadataIOManager
from tests.fakes.metadata_store import FakeMetadataStore

KEYS = [f"asset-{i}" for i in range(4)]
PARTITIONS = dg.DynamicPartitionsDefinition(name="media_asset")
RANGE = {
    "dagster/asset_partition_range_start": KEYS[0],
    "dagster/asset_partition_range_end": KEYS[-1],
}


@pytest.fixture
def ledger() -> FakeMetadataStore:
    store = FakeMetadataStore()
    store.register(
        [
            Arrival(
                MediaAsset(key, f"sha256:{key}", SourceObject("media", key), key, "2026-01-01"),
                MessageRecord("in", 0, number, 0, key.encode(), b"{}"),
            )
            for number, key in enumerate(KEYS)
        ]
    )
    return store


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        made.add_dynamic_partitions("media_asset", KEYS)
        yield made


def definitions(ledger, codes, *, between=lambda: None, seen=None) -> dg.Definitions:
    @dg.asset(
        partitions_def=PARTITIONS,
        io_manager_key="ledger",
        backfill_policy=dg.BackfillPolicy.multi_run(100),
    )
    def enrichment(context: dg.AssetExecutionContext) -> Results:
        claims = ledger.claim(context.run_id, context.run_id, KEYS)
        rows = {
            claim.asset.asset_id: Derivative(
                claim.asset.asset_id, claim.asset.content_version, claim.fence, "text", "text-1",
                "digest", 3, codes.get(claim.asset.asset_id, Code.OK), "why", (), {}, 0.1,
            )
            for claim in claims
        }  # fmt: skip
        between()
        return judge(claims, {"text": rows}, context.run_id, "out")

    @dg.asset(
        partitions_def=PARTITIONS,
        backfill_policy=dg.BackfillPolicy.multi_run(100),
        io_manager_key="mem",
    )
    def after(enrichment: Derivatives) -> None:
        if seen is not None:
            seen.update(enrichment)

    batch = BatchResource.configure_at_launch()
    return dg.Definitions(
        assets=[enrichment, after],
        resources={
            "ledger": MetadataIOManager(metadata_store=ledger, batch=batch),
            "batch": batch,
            "mem": dg.mem_io_manager,
        },
        jobs=[
            dg.define_asset_job(
                "job",
                selection="*",
                executor_def=dg.in_process_executor,
                tags={MAX_RETRIES_TAG: "2"},
            )
        ],
    )


def run(defs, instance):
    return defs.resolve_job_def("job").execute_in_process(
        instance=instance, raise_on_error=False, tags=RANGE
    )


def materialized(instance) -> set[str]:
    return instance.get_materialized_partitions(dg.AssetKey("enrichment"))


def test_enriched_keys_are_materialized_and_told_once(ledger, instance):
    codes = {KEYS[1]: Code.ENCRYPTED, KEYS[2]: Code.TRANSIENT, KEYS[3]: Code.NOT_APPLICABLE}
    assert run(definitions(ledger, codes), instance).success
    assert materialized(instance) == {KEYS[0], KEYS[3]}
    assert ledger.counts().by_status == {
        "complete": 1, "dead_lettered": 1, "retry": 1, "partial": 1,
    }  # fmt: skip
    topics = sorted(event.topic for event in ledger.outbox.values())
    assert topics == ["media.processing.dlq", "out", "out"]


def test_what_is_not_enriched_says_why(ledger, instance):
    codes = {KEYS[1]: Code.ENCRYPTED, KEYS[2]: Code.TRANSIENT}
    run(definitions(ledger, codes), instance)
    page = instance.fetch_observations(dg.AssetKey("enrichment"), limit=10)
    seen = {one.partition_key: one.event_log_entry.asset_observation for one in page.records}
    assert set(seen) == set(codes)
    told = seen[KEYS[1]].metadata
    assert told["status"].value == "dead_lettered"
    assert told["reason"].value == "text: encrypted: why"
    (letter,) = [event for event in ledger.outbox.values() if event.topic != "out"]
    assert told["dead_letter"].value == letter.event_id


def test_a_result_that_another_run_took_over_is_not_materialized(ledger, instance):
    def take_over():
        ledger.claim("another-run", "another-run", [KEYS[0]])

    assert run(definitions(ledger, {}, between=take_over), instance).success
    assert materialized(instance) == set(KEYS[1:])


def test_a_second_run_over_the_same_keys_tells_nothing_new(ledger, instance):
    for _ in range(2):
        assert run(definitions(ledger, {}), instance).success
    assert len(ledger.outbox) == len(KEYS)


def test_data_versions_are_equal_when_nothing_changed(ledger, instance):
    versions = []
    for _ in range(2):
        run(definitions(ledger, {}), instance)
        page = instance.fetch_materializations(dg.AssetKey("enrichment"), limit=len(KEYS))
        versions.append(
            {
                record.partition_key: record.asset_materialization.tags["dagster/data_version"]
                for record in page.records
            }
        )
    assert versions[0] == versions[1]
    assert len(set(versions[0].values())) == len(KEYS)


def test_downstream_assets_get_the_ledgers_rows(ledger, instance):
    seen: dict = {}
    run(definitions(ledger, {}, seen=seen), instance)
    assert sorted(seen) == [f"{key}/text" for key in KEYS]


def test_a_ledger_that_refuses_takes_the_runs_retries_away(ledger, instance):
    def denied(*_):
        raise SystemicError("role lost", remedy="grant it", code="ledger_denied")

    ledger.record = denied
    result = run(definitions(ledger, {}), instance)
    assert not result.success
    assert instance.get_run_by_id(result.run_id).tags[MAX_RETRIES_TAG] == "0"
    assert materialized(instance) == set()
