"""Guards of the pinned Dagster's storage internals: what is written is what stock would write."""

import uuid

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef

PARTITIONS = dg.DynamicPartitionsDefinition(name="p")
KEYS = [f"k{number}" for number in range(30)]


@dg.asset(partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
def one(context: dg.AssetExecutionContext) -> None: ...


@dg.asset(partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run(), deps=[one])
def two(context: dg.AssetExecutionContext) -> None:
    raise RuntimeError("always")


@pytest.fixture(params=["pooled", "stock"])
def instance(request, stack, tmp_path, monkeypatch):
    """An instance on a database of its own, by our storage class and by Dagster's."""
    import psycopg

    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    name = f"dagster_{request.param}_{uuid.uuid4().hex}"
    with psycopg.connect(stack.postgres_dsn, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    url = stack.dagster_postgres_url.rsplit("/", 1)[0] + f"/{name}"
    pooled = {
        "custom": {
            "module": "media_pipeline.dagster_storage",
            "class": "PooledPostgresStorage",
            "config": {"postgres_url": url},
        }
    }
    storage = pooled if request.param == "pooled" else {"postgres": {"postgres_url": url}}
    ref = InstanceRef.from_dir(
        str(tmp_path), overrides={"storage": storage, "telemetry": {"enabled": False}}
    )
    with dg.DagsterInstance.from_ref(ref) as made:
        made.add_dynamic_partitions("p", KEYS)
        yield made


def test_a_failed_batch_leaves_the_same_partition_statuses(instance):
    defs = dg.Definitions(
        assets=[one, two],
        jobs=[dg.define_asset_job("job", selection="*", executor_def=dg.in_process_executor)],
    )
    result = defs.resolve_job_def("job").execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": "k3",
            "dagster/asset_partition_range_end": "k22",
        },
    )
    assert not result.success
    assert instance.get_materialized_partitions(dg.AssetKey("one")) == set(KEYS[3:23])
    assert instance.get_materialized_partitions(dg.AssetKey("two")) == set()
    events = [
        (record.dagster_event.asset_key.path[0], record.dagster_event.partition)
        for record in instance.all_logs(
            result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        )
    ]
    assert sorted(events) == sorted(("one", key) for key in KEYS[3:23])
    planned = instance.all_logs(
        result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    )
    assert len(planned) in (2, 40), "planned once per Dagster asset, or once per key"


def test_the_named_class_is_the_one_in_use(instance, request):
    pooled = "pooled" in request.node.name
    assert (type(instance._run_storage._engine.pool).__name__ == "QueuePool") is pooled


def test_tables_are_looked_for_once_per_process(instance, request, monkeypatch):
    import sqlalchemy

    looked = []
    stock = sqlalchemy.inspect
    monkeypatch.setattr(sqlalchemy, "inspect", lambda *given: looked.append(1) or stock(*given))
    with dg.DagsterInstance.from_ref(instance.get_ref()) as second:
        assert second.get_dynamic_partitions("p") == KEYS
    assert bool(looked) is ("stock" in request.node.name)
