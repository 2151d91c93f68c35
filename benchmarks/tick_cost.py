"""What one tick of each sensor costs while Dagster knows 1k, 10k, 100k asset partitions.

On the embedded stack, in one process and one session: PostgreSQL behind the Dagster instance and
behind PostgREST; the ledger grows with the partitions. The topic is in memory: a broker's own pace
says nothing of the sensors. Each figure is the median of several ticks, in milliseconds; the ratio
is that of the largest to the smallest size.

    python benchmarks/tick_cost.py [--sizes 1000,10000,100000] [--ticks 15] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psycopg
from dagster._core.instance.ref import InstanceRef
from rich.console import Console
from rich.table import Table

from media_pipeline.cli.dagster_process import dagster_environment
from media_pipeline.cli.world import World
from media_pipeline.local_stack.stack import RunningStack, embedded_stack
from media_pipeline.settings import Settings
from resources.build import build_operations_ledger

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sensors import media_events, outbox_relay, retirement, run_failures, scaling
from sensors.gate import Gate
from tests.fakes.event_log import FakeEventLog

MESSAGES = 200
_SEED_LEDGER = """
set role media_owner;
insert into media.media_asset (asset_id, content_version, bucket, object_key, event_id, occurred_at,
    priority, topic, kafka_partition, kafka_offset, record_timestamp, status, attempts, fence,
    finished_at, claimed_at)
select 'seed-' || n, 'sha256:1', 'media', 'k', 'e-' || n, 't', 'live', 'seeded', 0, n, 0,
    'complete', 1, 1, now(), now()
from generate_series({start}, {end}) n;
insert into media.derivative (asset_id, content_version, kind, fingerprint, outcome, message,
    input_bytes, artifacts, attributes, seconds, fence, run_id)
select 'seed-' || n, 'sha256:1', kind, kind || '-1', 'ok', '', 5, '[]', '{{}}', 0.1, 1, 'seed'
from generate_series({start}, {end}) n, unnest(array['text','thumbnails','ocr','moderation']) kind;
insert into media.processor_total
select kind, 'ok', 1, 1 from unnest(array['text','thumbnails','ocr','moderation']) kind
on conflict do nothing;
reset role;
"""


class _NoReceivers:
    receivers = ()

    def send(self, receiver: str, alerts: object) -> None:
        raise AssertionError(f"nobody named {receiver}: {alerts}")


class Bench:
    """A stack, a Dagster instance on it, and the sensors' cursors."""

    def __init__(self, stack: RunningStack, instance: dg.DagsterInstance) -> None:
        self.settings: Settings = stack.settings()
        self.world = World(self.settings)
        self.operations = build_operations_ledger(self.settings)
        self.topic = FakeEventLog()
        self.topic.create(self.settings.kafka.ingested_topic, 4)
        self.dsn = stack.postgres_dsn
        self.instance = instance
        self.cursors: dict[str, str | None] = {}
        self.size = 0

    def grow(self, size: int) -> None:
        """Partitions and ledger rows up to `size`, all of them done."""
        added = [f"seed-{number}" for number in range(self.size, size)]
        for start in range(0, len(added), 5000):
            self.instance.add_dynamic_partitions("media_asset", added[start : start + 5000])
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(_SEED_LEDGER.format(start=self.size, end=size - 1))
            connection.execute("vacuum analyze")
        self.size = size

    def send(self, ids: list[str]) -> None:
        version = uuid.uuid4().hex
        for asset_id in ids:
            body = {
                "event_id": f"{asset_id}-{version}", "occurred_at": "t", "asset_id": asset_id,
                "bucket": "media", "object_key": "k", "etag": version,
            }  # fmt: skip
            key, value = asset_id.encode(), json.dumps(body).encode()
            self.topic.append(self.settings.kafka.ingested_topic, 0, key, value)

    def tick(self, name: str, evaluate: Callable[..., object], *given: object) -> float:
        """Milliseconds of one tick; its cursor is kept as the daemon would."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursors.get(name))
        started = time.perf_counter()
        result = evaluate(context, *given)
        elapsed = (time.perf_counter() - started) * 1000
        if isinstance(result, dg.SensorResult):
            self.cursors[name] = result.cursor
        return elapsed


def cases(bench: Bench) -> Iterator[tuple[str, Callable[[], float]]]:
    """Name of what is measured, and one tick of it."""
    world, settings = bench.world, bench.settings

    def media() -> float:
        given = (bench.topic, world.metadata_store, world.recovery_store, Gate(), settings)
        return bench.tick("media", media_events.evaluate, *given)

    def fresh() -> float:
        bench.send([f"new-{uuid.uuid4().hex}" for _ in range(MESSAGES)])
        return media()

    def again() -> float:
        bench.send([f"seed-{number}" for number in range(MESSAGES)])
        return media()

    def relay() -> float:
        started = time.perf_counter()
        outbox_relay.relay(world.metadata_store, bench.topic, chunk=1000, deadline_seconds=5)
        return (time.perf_counter() - started) * 1000

    def failures() -> float:
        return bench.tick("failures", run_failures.evaluate, _NoReceivers(), settings)

    def retire() -> float:
        return bench.tick("retirement", retirement.evaluate, bench.operations, settings.retirement)

    def scale() -> float:
        given = (bench.topic, world.metadata_store, settings)
        return bench.tick("scaling", scaling.evaluate, *given)

    yield "media_events, nothing new", media
    yield f"media_events, {MESSAGES} new media assets", fresh
    yield f"media_events, {MESSAGES} ingested again", again
    yield "outbox_relay, nothing to publish", relay
    yield "run_failures, none", failures
    yield "retirement, one page", retire
    yield "scaling", scale


def measure(bench: Bench, sizes: list[int], ticks: int) -> dict[str, list[float]]:
    """Median milliseconds per case, one for each size."""
    found: dict[str, list[float]] = {}
    for size in sizes:
        bench.grow(size)
        for name, tick in cases(bench):
            tick()  # connections, caches, the topic's end
            found.setdefault(name, []).append(statistics.median(tick() for _ in range(ticks)))
    return found


def show(found: dict[str, list[float]], sizes: list[int]) -> None:
    table = Table(title="milliseconds of one tick, by known asset partitions")
    table.add_column("tick")
    for size in sizes:
        table.add_column(f"{size:,}", justify="right")
    table.add_column("ratio", justify="right")
    for name, row in found.items():
        table.add_row(name, *(f"{one:.1f}" for one in row), f"{row[-1] / row[0]:.2f}")
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--ticks", type=int, default=15)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    sizes = [int(one) for one in given.sizes.split(",")]
    with tempfile.TemporaryDirectory() as folder, embedded_stack(Path(folder)) as stack:
        environment = dagster_environment(stack)
        os.environ.update(environment)
        ref = InstanceRef.from_dir(environment["DAGSTER_HOME"])
        with dg.DagsterInstance.from_ref(ref) as instance:
            found = measure(Bench(stack, instance), sizes, given.ticks)
    show(found, sizes)
    if given.json:
        given.json.write_text(json.dumps({"sizes": sizes, "milliseconds": found}, indent=1))


if __name__ == "__main__":
    main()
