"""What Dagster records when a batch is stored: guards the pinned private attributes."""

from collections.abc import Iterator

import dagster as dg
import pytest

from media_pipeline.batch_tags import DIGEST_TAG, set_run_config
from media_pipeline.domain.outcome import (
    Artifact,
    Code,
    Derivatives,
    Outcome,
    Outcomes,
    ProcessorResult,
)
from media_pipeline.errors import SystemicError
from media_pipeline.run_retries import MAX_RETRIES_TAG
from resources.batch import BatchResource
from resources.io_managers.object_store import ObjectStoreIOManager
from tests.fakes.object_store import FakeObjectStore

KEYS = [f"asset-{i}" for i in range(6)]
PARTITIONS = dg.DynamicPartitionsDefinition(name="media_asset")


def outcome(key: str, code: Code = Code.OK) -> Outcome:
    artifacts = (Artifact("a.txt", "text/plain", key.encode()),) if code is Code.OK else ()
    return Outcome(
        asset_id=key,
        content_version=f"sha256:{key}",
        fence=1,
        kind="text",
        fingerprint="text-1-x",
        input_digest=f"digest-{key}",
        input_bytes=3,
        result=ProcessorResult(code, f"{code} for test", artifacts, preview=b"webp"),
    )


def build(codes: dict[str, Code], store: FakeObjectStore, seen: dict) -> dg.Definitions:
    @dg.asset(
        partitions_def=PARTITIONS,
        io_manager_key="files",
        backfill_policy=dg.BackfillPolicy.multi_run(100),
    )
    def text(context: dg.AssetExecutionContext, batch: BatchResource) -> Outcomes:
        keys = batch.keys_of(context)
        return Outcomes((outcome(k, codes.get(k, Code.OK)) for k in keys), expected=len(keys))

    @dg.asset(
        partitions_def=PARTITIONS,
        backfill_policy=dg.BackfillPolicy.multi_run(100),
        io_manager_key="files",
    )
    def words(
        context: dg.AssetExecutionContext, text: Derivatives, batch: BatchResource
    ) -> Outcomes:
        keys = batch.keys_of(context)
        return Outcomes((outcome(key) for key in keys), expected=len(keys))

    @dg.asset(
        partitions_def=PARTITIONS,
        backfill_policy=dg.BackfillPolicy.multi_run(100),
        io_manager_key="mem",
    )
    def downstream(text: Derivatives) -> None:
        seen.update(text)

    batch = BatchResource.configure_at_launch()
    return dg.Definitions(
        assets=[text, words, downstream],
        resources={
            "files": ObjectStoreIOManager(object_store=store, batch=batch),
            "batch": batch,
            "mem": dg.mem_io_manager,
        },
        jobs=[dg.define_asset_job("job", selection="*", executor_def=dg.in_process_executor)],
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("media_asset", KEYS)
        yield instance


def range_tags(first: str, last: str) -> dict[str, str]:
    return {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }


def run(defs: dg.Definitions, instance: dg.DagsterInstance, **kwargs) -> dg.ExecuteInProcessResult:
    job = defs.resolve_job_def("job")
    return job.execute_in_process(instance=instance, raise_on_error=False, **kwargs)


def materializations(instance: dg.DagsterInstance, asset: str) -> dict[str | None, dict]:
    page = instance.fetch_materializations(dg.AssetKey(asset), limit=100)
    return {record.partition_key: record.asset_materialization.metadata for record in page.records}


def test_only_handled_keys_are_materialized(instance):
    store, seen = FakeObjectStore(), {}
    codes = {"asset-1": Code.INVALID, "asset-3": Code.ENCRYPTED, "asset-4": Code.NOT_APPLICABLE}

    result = run(build(codes, store, seen), instance, tags=range_tags("asset-0", "asset-5"))

    assert result.success
    assert set(materializations(instance, "text")) == {"asset-0", "asset-2", "asset-4", "asset-5"}
    # Downstream sees the failures too: they are outcomes to be recorded.
    assert {key: row.code for key, row in seen.items()} == {
        **dict.fromkeys(KEYS, Code.OK),
        **codes,
    }


def test_a_key_that_is_missing_says_why_on_its_own_page(instance):
    codes = {"asset-1": Code.INVALID, "asset-3": Code.ENCRYPTED}
    run(build(codes, FakeObjectStore(), {}), instance, tags=range_tags("asset-0", "asset-4"))
    page = instance.fetch_observations(dg.AssetKey("text"), limit=100)
    seen = {one.partition_key: one.event_log_entry.asset_observation for one in page.records}
    assert set(seen) == set(codes)
    assert seen["asset-1"].metadata["outcome"].value == "invalid"
    assert seen["asset-1"].metadata["reason"].value == "invalid for test"
    known = instance.get_materialized_partitions(dg.AssetKey("text"))
    assert known == {"asset-0", "asset-2", "asset-4"}


@pytest.mark.parametrize("alone", [False, True], ids=["same run", "a run of its own"])
def test_a_key_says_which_version_of_its_upstream_it_was_made_from(instance, alone):
    """Without that Dagster would show every downstream partition as stale, always."""
    defs = build({}, FakeObjectStore(), {})
    run(defs, instance, tags=range_tags("asset-0", "asset-2"))
    if alone:
        words = [dg.AssetKey("words")]
        run(defs, instance, tags=range_tags("asset-0", "asset-2"), asset_selection=words)
    versions = {}
    for name in ("text", "words"):
        page = instance.fetch_materializations(dg.AssetKey(name), limit=3)
        for record in page.records:
            versions[name, record.partition_key] = record.asset_materialization.tags
    for key in KEYS[:3]:
        made_from = versions["words", key]["dagster/input_data_version/text"]
        assert made_from == versions["text", key]["dagster/data_version"]
    assert len({versions["text", key]["dagster/data_version"] for key in KEYS[:3]}) == 3


def test_each_key_carries_its_own_metadata(instance):
    run(build({}, FakeObjectStore(), {}), instance, tags=range_tags("asset-0", "asset-1"))

    rows = materializations(instance, "text")
    assert rows["asset-0"]["content_digest"].value == "digest-asset-0"
    assert rows["asset-1"]["content_digest"].value == "digest-asset-1"
    assert rows["asset-0"]["preview"].value.startswith("![preview](data:image/webp;base64,")
    assert rows["asset-0"]["batch_keys"].value == 2


def test_a_batch_of_which_nothing_is_known_ends_as_it_says(instance):
    """Keys that the ledger does not know: no outcomes, and it is the run's verdict that fails."""

    @dg.asset(
        partitions_def=PARTITIONS,
        io_manager_key="files",
        backfill_policy=dg.BackfillPolicy.multi_run(9),
    )
    def text() -> Outcomes:
        return Outcomes([], expected=0)

    batch = BatchResource.configure_at_launch()
    files = ObjectStoreIOManager(object_store=FakeObjectStore(), batch=batch)
    defs = dg.Definitions(
        assets=[text],
        resources={"files": files, "batch": batch},
        jobs=[dg.define_asset_job("job", selection="*", executor_def=dg.in_process_executor)],
    )
    assert run(defs, instance, tags=range_tags("asset-0", "asset-1")).success
    assert materializations(instance, "text") == {}


def test_objects_are_links_by_name(instance):
    run(build({}, FakeObjectStore(), {}), instance, tags=range_tags("asset-0", "asset-1"))
    shown = materializations(instance, "text")["asset-0"]["objects"].value
    name, _, address = shown.partition("](<")
    assert name == "[a.txt"
    assert "derived/text/digest-asset-0/text-1-x/a.txt" in address
    assert address.endswith(">) 7 bytes")


def test_a_batch_without_one_good_key_succeeds_and_materializes_nothing(instance):
    seen = {}
    codes = dict.fromkeys(KEYS, Code.INVALID)

    result = run(
        build(codes, FakeObjectStore(), seen), instance, tags=range_tags("asset-0", "asset-5")
    )

    assert result.success
    assert materializations(instance, "text") == {}
    assert len(seen) == len(KEYS)


def test_a_set_run_materializes_its_listed_keys_but_the_failed(instance):
    keys = ["asset-4", "asset-0", "asset-2"]
    result = run(
        build({"asset-0": Code.INVALID}, FakeObjectStore(), {}),
        instance,
        partition_key=keys[0],
        run_config=set_run_config(keys),
    )

    assert result.success
    assert set(materializations(instance, "text")) == {"asset-4", "asset-2"}


def test_a_range_that_resolves_to_other_keys_is_refused_and_not_retried(instance):
    result = run(
        build({}, FakeObjectStore(), {}),
        instance,
        tags={**range_tags("asset-0", "asset-3"), DIGEST_TAG: "0123456789abcdef"},
    )

    assert not result.success
    assert materializations(instance, "text") == {}


def test_history_is_found_through_the_latest_materialization(instance):
    store, seen = FakeObjectStore(), {}
    defs = build({}, store, seen)
    run(defs, instance, tags=range_tags("asset-0", "asset-2"))
    run(defs, instance, tags=range_tags("asset-2", "asset-4"))
    seen.clear()

    result = run(
        defs,
        instance,
        tags=range_tags("asset-1", "asset-5"),
        asset_selection=[dg.AssetKey("downstream")],
    )

    assert result.success
    assert set(seen) == {"asset-1", "asset-2", "asset-3", "asset-4"}


def test_a_systemic_error_in_the_stream_stops_the_run_retries(instance):
    def broken() -> Iterator[Outcome]:
        yield outcome("asset-0")
        raise SystemicError("no bucket", remedy="make it", code="bucket_missing")

    @dg.asset(
        partitions_def=PARTITIONS,
        io_manager_key="files",
        backfill_policy=dg.BackfillPolicy.multi_run(9),
    )
    def text() -> Outcomes:
        return Outcomes(broken(), expected=1)

    batch = BatchResource.configure_at_launch()
    defs = dg.Definitions(
        assets=[text],
        resources={
            "files": ObjectStoreIOManager(object_store=FakeObjectStore(), batch=batch),
            "batch": batch,
        },
        jobs=[dg.define_asset_job("job", selection="*", executor_def=dg.in_process_executor)],
    )
    result = run(defs, instance, tags=range_tags("asset-0", "asset-1"))

    assert not result.success
    assert instance.get_run_by_id(result.run_id).tags[MAX_RETRIES_TAG] == "0"
    assert materializations(instance, "text") == {}


def test_plain_bytes_are_kept_and_loaded_for_any_dagster_project(instance):
    store, seen = FakeObjectStore(), {}

    @dg.asset(
        partitions_def=PARTITIONS,
        io_manager_key="files",
        backfill_policy=dg.BackfillPolicy.multi_run(9),
    )
    def report(context: dg.AssetExecutionContext) -> dict[str, bytes]:
        return {key: key.upper().encode() for key in context.partition_keys if key != "asset-1"}

    @dg.asset(
        partitions_def=PARTITIONS,
        io_manager_key="files",
        backfill_policy=dg.BackfillPolicy.multi_run(9),
    )
    def reader(report: dict[str, bytes]) -> dict[str, bytes]:
        seen.update(report)
        return report

    batch = BatchResource.configure_at_launch()
    defs = dg.Definitions(
        assets=[report, reader],
        resources={"files": ObjectStoreIOManager(object_store=store, batch=batch), "batch": batch},
        jobs=[dg.define_asset_job("job", selection="*", executor_def=dg.in_process_executor)],
    )
    result = run(defs, instance, tags=range_tags("asset-0", "asset-2"))

    assert result.success
    assert seen == {"asset-0": b"ASSET-0", "asset-2": b"ASSET-2"}
    assert set(materializations(instance, "report")) == {"asset-0", "asset-2"}
