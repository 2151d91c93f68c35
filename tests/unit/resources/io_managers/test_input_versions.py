"""What Dagster says of each key: in sync, or out of sync and why. Guards the pinned Dagster."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from media_pipeline.assets.enrichment import judge
from media_pipeline.batch_tags import set_run_config
from media_pipeline.domain.media_asset import MediaAsset, MessageRecord, SourceObject
from media_pipeline.domain.outcome import (
    Artifact,
    Code,
    Derivatives,
    Outcome,
    Outcomes,
    ProcessorResult,
)
from media_pipeline.domain.ports import Arrival
from media_pipeline.domain.results import Results
from resources.batch import BatchResource
from resources.io_managers.metadata import MetadataIOManager
from resources.io_managers.object_store import ObjectStoreIOManager
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.object_store import FakeObjectStore

KEYS = [f"asset-{number}" for number in range(5)]
PARTITIONS = dg.DynamicPartitionsDefinition(name="media_asset")
POLICY = dg.BackfillPolicy.multi_run(100)


@dataclass
class Pipeline:
    """`text` -> `ocr`, both -> `enrichment`, by the two IO managers."""

    instance: dg.DagsterInstance
    ledger: FakeMetadataStore
    store: FakeObjectStore = field(default_factory=FakeObjectStore)
    #: Dagster asset -> key -> how it ends; all others are fine.
    codes: dict[str, dict[str, Code]] = field(default_factory=dict)
    fingerprint: str = "text-1"

    def definitions(self) -> dg.Definitions:
        @dg.asset(
            partitions_def=PARTITIONS, io_manager_key="files", backfill_policy=POLICY,
            code_version=self.fingerprint,
        )  # fmt: skip
        def text(context: dg.AssetExecutionContext, batch: BatchResource) -> Outcomes:
            return self.outcomes("text", self.fingerprint, batch.keys_of(context))

        @dg.asset(
            partitions_def=PARTITIONS, io_manager_key="files", backfill_policy=POLICY,
            code_version="ocr-1",
        )  # fmt: skip
        def ocr(
            context: dg.AssetExecutionContext, text: Derivatives, batch: BatchResource
        ) -> Outcomes:
            return self.outcomes("ocr", "ocr-1", batch.keys_of(context))

        @dg.asset(partitions_def=PARTITIONS, io_manager_key="rows", backfill_policy=POLICY)
        def enrichment(
            context: dg.AssetExecutionContext,
            text: Derivatives,
            ocr: Derivatives,
            batch: BatchResource,
        ) -> Results:
            run = context.run.run_id
            claims = self.ledger.claim(run, run, batch.keys_of(context))
            return judge(claims, {"text": text, "ocr": ocr}, run, "out")

        batch = BatchResource.configure_at_launch()
        return dg.Definitions(
            assets=[text, ocr, enrichment],
            resources={
                "files": ObjectStoreIOManager(object_store=self.store, batch=batch),
                "rows": MetadataIOManager(metadata_store=self.ledger, batch=batch),
                "batch": batch,
            },
            jobs=[dg.define_asset_job("job", selection="*", executor_def=dg.in_process_executor)],
        )

    def outcomes(self, kind: str, fingerprint: str, keys: list[str]) -> Outcomes:
        def one(key: str) -> Outcome:
            code = self.codes.get(kind, {}).get(key, Code.OK)
            files = (Artifact("a.txt", "text/plain", b"a"),) if code is Code.OK else ()
            result = ProcessorResult(code, "", files)
            return Outcome(key, f"sha256:{key}", 1, kind, fingerprint, f"of-{key}", 3, result)

        return Outcomes((one(key) for key in keys), expected=len(keys))

    def run(self, *assets: str, keys: list[str] | None = None) -> None:
        """All of KEYS as a range run, or `keys` as a set run."""
        where = (
            {
                "partition_key": keys[0],
                "run_config": set_run_config(keys),
            }
            if keys
            else {
                "tags": {
                    "dagster/asset_partition_range_start": KEYS[0],
                    "dagster/asset_partition_range_end": KEYS[-1],
                }
            }
        )
        done = (
            self.definitions()
            .resolve_job_def("job")
            .execute_in_process(
                instance=self.instance,
                asset_selection=[dg.AssetKey(name) for name in assets] or None,
                **where,
            )
        )
        assert done.success

    def stale(self) -> dict[tuple[str, str], list[str]]:
        """What is out of sync, with the reasons that the UI shows."""
        graph = self.definitions().resolve_asset_graph()
        resolver = CachingStaleStatusResolver(
            self.instance, graph, LoadingContextForTest(self.instance)
        )
        found = {}
        for name in ("text", "ocr", "enrichment"):
            for key in KEYS:
                causes = resolver.get_stale_causes(dg.AssetKey(name), key)
                if causes:
                    found[name, key] = [
                        f"{cause.reason}: {cause.dependency_asset_key.to_user_string()}"
                        if cause.dependency_asset_key
                        else cause.reason
                        for cause in causes
                    ]
        return found


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    ledger = FakeMetadataStore()
    ledger.register(
        [
            Arrival(
                MediaAsset(key, f"sha256:{key}", SourceObject("media", key), key, "2026-01-01"),
                MessageRecord("in", 0, number, 0, key.encode(), b"{}"),
            )
            for number, key in enumerate(KEYS)
        ]
    )
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("media_asset", KEYS)
        yield Pipeline(instance, ledger)


@pytest.mark.parametrize("keys", [None, KEYS[1:4]], ids=["range run", "set run"])
def test_what_a_run_made_is_in_sync(pipeline, keys):
    pipeline.run(keys=keys)
    assert pipeline.stale() == {}


@pytest.mark.parametrize("keys", [None, KEYS[1:4]], ids=["range run", "set run"])
def test_what_a_run_of_its_own_made_from_history_is_in_sync(pipeline, keys):
    pipeline.run("text")
    pipeline.run("ocr", keys=keys)
    pipeline.run("enrichment", keys=keys)
    assert pipeline.stale() == {}


def test_an_upstream_made_again_with_the_same_data_version_changes_nothing(pipeline):
    pipeline.run()
    pipeline.run("text")
    assert pipeline.stale() == {}


def test_an_upstream_with_another_data_version_is_named_until_its_downstream_ran(pipeline):
    pipeline.run()
    pipeline.fingerprint = "text-2"
    assert pipeline.stale() == {("text", key): ["has a new code version"] for key in KEYS}
    pipeline.run("text", keys=KEYS[:2])
    changed = ["has a new dependency data version: text"]
    assert pipeline.stale() == {
        **{("text", key): ["has a new code version"] for key in KEYS[2:]},
        **{(name, key): changed for name in ("ocr", "enrichment") for key in KEYS[:2]},
    }
    # `ocr` keeps its version, so only what it and `enrichment` say of `text` becomes true again.
    pipeline.run("ocr", keys=KEYS[:2])
    pipeline.run("enrichment", keys=KEYS[:1])
    assert pipeline.stale() == {
        **{("text", key): ["has a new code version"] for key in KEYS[2:]},
        ("enrichment", KEYS[1]): changed,
    }


def test_a_failed_upstream_that_is_made_later_is_noticed(pipeline):
    """Partial: `ocr` was not made, and the ledger says so."""
    pipeline.codes = {"ocr": {KEYS[0]: Code.TIMEOUT}}
    pipeline.run()
    assert pipeline.instance.get_materialized_partitions(dg.AssetKey("enrichment")) == set(KEYS)
    assert pipeline.stale() == {}
    pipeline.codes = {}
    pipeline.run("ocr", keys=KEYS[:1])
    assert pipeline.stale() == {("enrichment", KEYS[0]): ["has a new dependency data version: ocr"]}
    pipeline.run("enrichment", keys=KEYS[:1])
    assert pipeline.stale() == {}
