"""Systemic errors take the run's retries away; others leave them, whoever started the run."""

import dagster as dg
import pytest

from media_pipeline.assets.batch import claim_batch
from media_pipeline.domain.media_asset import MediaAsset, MessageRecord, SourceObject
from media_pipeline.domain.ports import Arrival
from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.run_retries import (
    MAX_RETRIES_TAG,
    RETRY_STRATEGY_TAG,
    systemic_errors_stop_retries,
)
from resources.batch import BatchResource
from tests.fakes.metadata_store import FakeMetadataStore

PARTITIONS = dg.DynamicPartitionsDefinition(name="media_asset")


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run_of(instance):
    @dg.job
    def nothing(): ...

    return instance.create_run_for_job(nothing, tags={MAX_RETRIES_TAG: "2"}).run_id


@pytest.mark.parametrize(("error", "left"), [(SystemicError, "0"), (TransientError, "2")])
def test_retries_after(instance, error, left):
    run_id = run_of(instance)
    with pytest.raises(error), systemic_errors_stop_retries(instance, run_id):
        raise error("no", remedy="mend it")
    assert instance.get_run_by_id(run_id).tags[MAX_RETRIES_TAG] == left


class Backfills:
    """Runs as a backfill from the UI launches them: of Dagster's own job, without any tag."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        instance.add_dynamic_partitions("media_asset", ["known", "unknown"])
        self.ledger = FakeMetadataStore()
        asset = MediaAsset("known", "sha256:1", SourceObject("media", "k"), "e", "2026-01-01")
        self.ledger.register([Arrival(asset, MessageRecord("in", 0, 0, 0, b"known", b"{}"))])

    def run(self, error: Exception | None, key: str = "known", **tags: str) -> dg.DagsterRun:
        def step(context: dg.AssetExecutionContext, batch: BatchResource):
            claims = claim_batch(context, batch, self.ledger)
            if error and context.asset_key.path[-1] == "text":
                with systemic_errors_stop_retries(context.instance, context.run.run_id):
                    raise error
            yield dg.MaterializeResult()
            yield dg.AssetCheckResult(passed=bool(claims), check_name="verdict")

        def asset(name: str) -> dg.AssetsDefinition:
            verdict = dg.AssetCheckSpec("verdict", asset=name, blocking=True)
            return dg.asset(name=name, partitions_def=PARTITIONS, check_specs=[verdict])(step)

        defs = dg.Definitions(
            # Two steps: the second starts after the first has failed.
            assets=[asset("text"), asset("thumbnails")],
            resources={"batch": BatchResource.configure_at_launch()},
            executor=dg.in_process_executor,
        )
        done = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance, raise_on_error=False, partition_key=key,
            tags={name.replace("_", "/", 1): value for name, value in tags.items()},
        )  # fmt: skip
        return self.instance.get_run_by_id(done.run_id)


@pytest.fixture
def backfills():
    """The instance retries nothing by itself: what is seen comes from the run's own tags."""
    retries = {"run_retries": {"enabled": True, "max_retries": 0}}
    with dg.DagsterInstance.ephemeral(settings=retries) as instance:
        yield Backfills(instance)


def test_a_run_of_the_ui_is_retried_whole_after_a_transient_error(backfills):
    run = backfills.run(TransientError("no", remedy="wait", code="ledger_busy"))
    assert run.tags["dagster/will_retry"] == "true"
    assert run.tags[RETRY_STRATEGY_TAG] == "ALL_STEPS"


def test_it_is_not_after_a_systemic_error_whatever_other_steps_do(backfills):
    run = backfills.run(SystemicError("no", remedy="mend it", code="bucket_missing"))
    assert (run.tags[MAX_RETRIES_TAG], run.tags["dagster/will_retry"]) == ("0", "false")


def test_nor_where_a_retry_would_find_the_same(backfills):
    run = backfills.run(None, "unknown")
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert run.tags["dagster/will_retry"] == "false"


def test_what_somebody_asked_for_stays(backfills):
    error = TransientError("no", remedy="wait", code="ledger_busy")
    run = backfills.run(error, dagster_max_retries="0")
    assert (run.tags[MAX_RETRIES_TAG], run.tags["dagster/will_retry"]) == ("0", "false")
