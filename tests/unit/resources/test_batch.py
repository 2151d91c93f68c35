"""A run works on the keys it was made for, or not at all."""

from collections import Counter
from types import SimpleNamespace

import dagster as dg
import pytest

from media_pipeline.batch_tags import (
    RANGE_END_TAG,
    RANGE_START_TAG,
    range_run_tags,
    run_keys,
    set_run_config,
    set_run_tags,
)
from media_pipeline.errors import SystemicError
from resources.batch import BatchResource


def context(keys, tags):
    return SimpleNamespace(partition_keys=keys, run=SimpleNamespace(tags=tags))


def test_a_range_run_works_on_its_range():
    keys = ["a", "b", "c"]
    assert BatchResource().keys_of(context(keys, range_run_tags(keys))) == keys


def test_a_set_run_works_on_the_keys_of_its_configuration():
    keys = ["c", "a"]
    config = set_run_config(keys)["resources"]["batch"]["config"]
    batch = BatchResource(**config)
    assert batch.keys_of(context(["c"], set_run_tags(keys))) == keys


def test_each_run_of_a_backfill_works_on_the_sets_of_its_own_anchors():
    config = set_run_config(["c", "a"], ["x", "y", "z"], ["y", "b"])
    batch = BatchResource(**config["resources"]["batch"]["config"])
    assert batch.keys_of(context(["c"], {})) == ["c", "a"]
    assert batch.keys_of(context(["x", "y"], {})) == ["x", "y", "z", "y", "b"]
    tags = {RANGE_START_TAG: "c", RANGE_END_TAG: "c"}
    assert run_keys(tags, config) == ["c", "a"]
    assert run_keys(range_run_tags(["m", "n"]), config) == ["m", "n"]


def test_a_backfill_of_the_ui_carries_no_digest_and_is_trusted():
    assert BatchResource().keys_of(context(["x"], {})) == ["x"]


@pytest.mark.parametrize("now", [["a", "c"], ["a", "b", "b2", "c"], ["b", "a", "c"]])
def test_a_range_that_resolves_to_other_keys_is_refused(now):
    tags = range_run_tags(["a", "b", "c"])
    with pytest.raises(SystemicError, match="batch_changed"):
        BatchResource().keys_of(context(now, tags))


PARTITIONS = dg.DynamicPartitionsDefinition(name="media_asset")
KEYS = [f"asset-{number}" for number in range(6)]


def announced_job(during):
    """`text` and `moderation`, both before `enrichment`; `during(context)` happens in `text`."""

    def asset(name, deps=()):
        @dg.asset(
            name=name,
            deps=deps,
            partitions_def=PARTITIONS,
            backfill_policy=dg.BackfillPolicy.multi_run(100),
        )
        def step(context: dg.AssetExecutionContext, batch: BatchResource) -> None:
            batch.announce(context)
            if name == "text":
                during(context)

        return step

    return dg.Definitions(
        assets=[asset("text"), asset("moderation"), asset("enrichment", ["text", "moderation"])],
        resources={"batch": BatchResource.configure_at_launch()},
        jobs=[dg.define_asset_job("job", selection="*", executor_def=dg.in_process_executor)],
    ).resolve_job_def("job")


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("media_asset", KEYS)
        yield instance


def test_a_set_runs_partitions_are_in_progress_and_failed_when_it_dies(instance):
    """Of all its Dagster assets, those that it never came to included."""
    during, keys = {}, ["asset-4", "asset-0", "asset-2"]

    def statuses(asset):
        found = instance.get_status_by_partition(dg.AssetKey(asset), KEYS, PARTITIONS)
        return {key: status.value for key, status in found.items() if status}

    def die(_):
        during.update({name: statuses(name) for name in ("text", "moderation", "enrichment")})
        raise RuntimeError("killed")

    ended = announced_job(die).execute_in_process(
        instance=instance, partition_key=keys[0], run_config=set_run_config(keys),
        raise_on_error=False,
    )  # fmt: skip
    assert not ended.success
    in_progress = dict.fromkeys(keys, "IN_PROGRESS")
    assert (during["text"], during["enrichment"]) == (in_progress, in_progress)
    assert statuses("text") == statuses("enrichment") == dict.fromkeys(keys, "FAILED")
    planned = Counter(
        (event.asset_key.path[0], event.asset_materialization_planned_data.partition)
        for entry in instance.all_logs(
            ended.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        )
        for event in [entry.dagster_event]
    )
    assert planned == {
        (name, key): 1 for name in ("text", "moderation", "enrichment") for key in keys
    }


def test_a_range_run_is_left_to_dagsters_own_plan(instance):
    ended = announced_job(lambda _: None).execute_in_process(
        instance=instance, tags=range_run_tags(KEYS)
    )
    planned = instance.all_logs(
        ended.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    )
    assert len(planned) == 3 * len(KEYS)
