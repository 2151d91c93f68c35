"""Throughput: the pipeline against a bare loop, a plain worker and one run per message.

All four work on the same made-up media in the same session, with the same processors and,
but for the bare loop, the same servers:

  (a) bare      the processors alone, one process per CPU, files in memory
  (b) worker    a plain Kafka consumer pool: fetch, process, store, record, publish
  (c) batches   this pipeline: sensor, daemon, batch runs
  (d) single    this pipeline with one run per message, on a sample

Ratios are what counts: machines are noisy, and one session is one machine.

    python benchmarks/throughput.py [--assets 1000] [--single 12] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cpu_by_role import CpuByRole
from rich.console import Console
from rich.table import Table

from media_pipeline.assets.worker_pool import CPU_SECONDS
from media_pipeline.cli.dagster_api import DagsterApi
from media_pipeline.cli.dagster_process import running_dagster
from media_pipeline.cli.producer import Upload, announce, upload
from media_pipeline.cli.world import World
from media_pipeline.local_stack.ports import free_port
from media_pipeline.local_stack.sample_media import SampleMedia, generate
from media_pipeline.local_stack.stack import RunningStack, embedded_stack
from media_pipeline.processing.processors import (
    params_from,
    process,
    processor_fingerprint,
)
from media_pipeline.settings import Settings
from media_pipeline.workers.pool import available_cpus

#: Without OCR and moderation: seconds of those per file would hide what is measured here.
KINDS = ("text", "thumbnails")
LIGHT = {"MEDIA_PIPELINE_WORKLOADS": json.dumps(KINDS)}


@dataclass
class Measured:
    """One way to do the work. `phases`: wall seconds summed over runs; `cpu`: CPU seconds of
    everything that took part, by phase of the runs and by role of the other processes."""

    name: str
    assets: int
    seconds: float
    phases: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.assets / self.seconds


def _bare_one(sample: SampleMedia) -> None:
    settings = Settings().processing.model_dump()
    for kind in KINDS:
        process(kind, sample.data, sample.content_type, params_from(kind, settings))


def bare(samples: list[SampleMedia]) -> Measured:
    """(a) Only the processors; the pool is warm before the clock starts."""
    cpus = available_cpus()
    with multiprocessing.get_context("fork").Pool(cpus) as pool:
        pool.map(_bare_one, samples[: 2 * cpus])
        started, used = time.monotonic(), _children_cpu()
        pool.map(_bare_one, samples, chunksize=4)
        seconds = time.monotonic() - started
    used = _children_cpu() - used
    return Measured("a bare loop", len(samples), seconds, cpu={"process": round(used, 2)})


def worker(world: World, uploads: list[Upload]) -> Measured:
    """(b) What one writes first: consume, fetch, process, store, record, publish, per message.

    As many threads as the pipeline has transfer threads, processing in a process pool, same
    adapters and ledger calls (one media asset per call), no Dagster.
    """
    from media_pipeline.assets.enrichment import judge
    from media_pipeline.domain.ports import Arrival

    topic = world.settings.kafka.ingested_topic
    start = world.event_source.poll(topic, {}, max_records=10**9, deadline_seconds=60).positions
    announce(world, uploads)
    started = time.monotonic()
    poll = world.event_source.poll(topic, start, max_records=10**9, deadline_seconds=60)
    assert len(poll.records) == len(uploads)
    assets = {one.asset.asset_id: one.asset for one in uploads}
    settings = world.settings.processing.model_dump()
    ledger, store = world.metadata_store, world.object_store
    context = multiprocessing.get_context("forkserver")
    with (
        CpuByRole({os.getpid(): "worker"}) as cpu,
        tempfile.TemporaryDirectory() as scratch,
        context.Pool(available_cpus()) as processes,
        ThreadPoolExecutor(world.settings.object_store.transfer_threads) as threads,
    ):

        def enrich(record: Any) -> None:
            asset = assets[record.key.decode()]
            run = f"worker-{asset.asset_id}"
            ledger.register([Arrival(asset, record)])
            (claim,) = ledger.claim(run, run, [asset.asset_id])
            by_kind = {}
            path = Path(scratch) / asset.asset_id
            for kind in KINDS:
                row = _derive(store, claim, kind, path, settings, processes)
                by_kind[kind] = {asset.asset_id: row}
            results = judge([claim], by_kind, run, world.settings.kafka.enriched_topic)
            ledger.record(run, results, "benchmark")
            events = [one.event for one in results if one.event]
            world.event_sink.publish(events)
            ledger.mark_published([event.event_id for event in events])

        list(threads.map(enrich, poll.records))
        seconds = time.monotonic() - started
    return Measured("b plain worker", len(uploads), seconds, cpu=cpu.seconds)


def _derive(
    store: Any, claim: Any, kind: str, path: Path, settings: dict[str, Any], processes: Any
) -> Any:
    import hashlib

    from media_pipeline.dead_letters.policy import code_of
    from media_pipeline.domain.identity import derived_object_key
    from media_pipeline.domain.outcome import Derivative, ProcessorResult, StoredArtifact
    from media_pipeline.errors import PermanentError

    asset, params = claim.asset, params_from(kind, settings)
    fingerprint = processor_fingerprint(kind, params)
    fetched = None
    try:
        fetched = store.fetch(asset.source, path, max_bytes=10**8)
        data = path.read_bytes()
        result = processes.apply(process, (kind, data, asset.source.content_type, params))
    except PermanentError as error:
        result = ProcessorResult(code_of(error), str(error))
    parts = []
    for part in result.artifacts:
        key = derived_object_key(kind, fetched.digest, fingerprint, part.name)
        store.put(key, part.data, part.content_type)
        digest = hashlib.sha256(part.data).hexdigest()
        parts.append(StoredArtifact(part.name, part.content_type, key, digest, len(part.data)))
    return Derivative(
        asset.asset_id, asset.content_version, claim.fence, kind, fingerprint,
        fetched.digest if fetched else None, fetched.size_bytes if fetched else 0, result.code,
        result.message, tuple(parts), result.attributes, result.seconds,
    )  # fmt: skip


def pipeline(
    name: str, stack: RunningStack, world: World, uploads: list[Upload], overrides: dict[str, str]
) -> Measured:
    """(c) and (d) From the first message in the topic to the last event published."""
    with running_dagster(stack, free_port(), variables=overrides) as dagster:
        before = _accounted(world)
        seen = len(_runs(dagster))
        # Warm, like the bare loop's pool: the daemon has imported everything and ticked.
        began = time.time()
        _wait(lambda: _ticked(dagster, began), "the first tick")
        announce(world, uploads)
        started = time.monotonic()
        with CpuByRole() as cpu:
            _wait(lambda: _accounted(world) - before >= len(uploads), name)
            seconds = time.monotonic() - started
        # The last log lines of a run come after its last event.
        _wait(lambda: not dagster.run_statuses().get("STARTED"), "the end of the runs")
        # The newest first: runs of an earlier measurement on the same instance are left out.
        runs = _runs(dagster)
        runs = runs[: len(runs) - seen]
        spent = [_own_phases(dagster, run["runId"]) for run in runs]
    return Measured(name, len(uploads), seconds, _phases(runs), _cpu(cpu.seconds, spent))


def _ticked(dagster: DagsterApi, since: float) -> bool:
    states = dagster.query(
        '{sensorsOrError(repositorySelector:{repositoryName:"__repository__",'
        ' repositoryLocationName:"media_pipeline"}){... on Sensors{results'
        "{sensorState{typeSpecificData{... on SensorData{lastTickTimestamp}}}}}}}"
    )["sensorsOrError"]["results"]
    ticks = [one["sensorState"]["typeSpecificData"]["lastTickTimestamp"] for one in states]
    return all((tick or 0) > since for tick in ticks)


def _own_phases(dagster: DagsterApi, run_id: str) -> dict[str, float]:
    """What the run said of its own CPU time in one of its last log lines."""
    cursor = None
    while True:
        found = dagster.query(
            "query($id:ID!,$c:String){logsForRun(runId:$id,afterCursor:$c){... on EventConnection"
            "{cursor hasMore events{... on LogMessageEvent{message}}}}}",
            {"id": run_id, "c": cursor},
        )["logsForRun"]
        for event in found["events"]:
            message = event.get("message") or ""
            if CPU_SECONDS in message:
                return dict(json.loads(message.split(CPU_SECONDS)[1]))
        if not found["hasMore"]:
            return {}
        cursor = found["cursor"]


def _cpu(roles: dict[str, float], runs: list[dict[str, float]]) -> dict[str, float]:
    """The runs' own phases beside the other roles; what is left of the runs is `launch`:
    starting Python, importing, building the plan, writing Dagster's other events."""
    phases: Counter[str] = Counter()
    for run in runs:
        phases.update(run)
    del phases["process"]  # the runs' total: read from /proc as well, with their start
    found = dict(roles)
    found["launch"] = found.pop("run", 0.0) - sum(phases.values())
    return {name: round(value, 2) for name, value in {**found, **phases}.items()}


def _accounted(world: World) -> int:
    counts = world.metadata_store.counts()
    if counts.unpublished:
        return -1
    return sum(counts.by_status.get(name, 0) for name in ("complete", "partial", "dead_lettered"))


def _wait(done: Callable[[], bool], what: str, seconds: float = 1800) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} was not done after {seconds:.0f} s")
        time.sleep(0.2)


def _runs(dagster: DagsterApi) -> list[dict[str, Any]]:
    """Runs with their step times, newest first."""
    runs: list[dict[str, Any]] = dagster.query(
        "{runsOrError{... on Runs{results{runId status startTime endTime creationTime"
        " stepStats{stepKey startTime endTime}}}}}"
    )["runsOrError"]["results"]
    return runs


def _phases(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds by phase, summed over runs, from run and step times."""
    phases = {"runs": float(len(runs)), "queue": 0.0, "overhead": 0.0}
    for run in runs:
        if not run["startTime"] or not run["endTime"]:
            continue
        phases["queue"] += run["startTime"] - run["creationTime"]
        steps = 0.0
        for step in run["stepStats"]:
            took = (step["endTime"] or 0) - (step["startTime"] or 0)
            phases[f"step {step['stepKey']}"] = phases.get(f"step {step['stepKey']}", 0.0) + took
            steps += took
        phases["overhead"] += run["endTime"] - run["startTime"] - steps
    return {name: round(value, 2) for name, value in phases.items()}


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _uploads(world: World, samples: list[SampleMedia], prefix: str) -> list[Upload]:
    """The same bytes under other media asset ids, so that each way has work of its own."""
    with ThreadPoolExecutor(4) as threads:
        return list(
            threads.map(
                lambda one: upload(
                    world, f"{prefix}-{one.asset_id}", one.filename, one.data, one.content_type
                ),
                samples,
            )
        )


def main() -> int:
    """Measure, print the table, write the JSON."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--assets", type=int, default=1000)
    arguments.add_argument("--single", type=int, default=12, help="sample for one run per message")
    arguments.add_argument("--json", type=Path, default=Path("benchmarks/results/throughput.json"))
    options = arguments.parse_args()
    console = Console()
    samples = list(generate(options.assets, seed=11))
    results = [bare(samples)]
    console.print(f"{results[0].name}: {results[0].rate:.1f} media assets/s")
    with tempfile.TemporaryDirectory() as directory, embedded_stack(Path(directory)) as stack:
        world = World(stack.settings())
        results.append(pipeline("c batches", stack, world, _uploads(world, samples, "c"), LIGHT))
        console.print(f"{results[-1].name}: {results[-1].rate:.1f} media assets/s")
        single = {
            **LIGHT,
            "MEDIA_PIPELINE_BATCH__MIN_KEYS": "1",
            "MEDIA_PIPELINE_BATCH__MAX_KEYS": "1",
            "MEDIA_PIPELINE_BATCH__MAX_IN_FLIGHT_RUNS": "10000",
        }
        sample = _uploads(world, samples[: options.single], "d")
        results.append(pipeline("d one run per message", stack, world, sample, single))
        console.print(f"{results[-1].name}: {results[-1].rate:.2f} media assets/s")
    # A stack of its own: the pipeline's sensor must not see these messages.
    with tempfile.TemporaryDirectory() as directory, embedded_stack(Path(directory)) as stack:
        world = World(stack.settings())
        results.append(worker(world, _uploads(world, samples, "b")))
    _print(console, results)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(
        json.dumps([{**asdict(one), "rate": one.rate} for one in results], indent=1)
    )
    console.print(f"written to {options.json}")
    return 0


def _print(console: Console, results: list[Measured]) -> None:
    by_letter = {one.name[0]: one for one in results}
    table = Table(title=f"{available_cpus()} CPUs, {by_letter['a'].assets} media assets")
    for column in ("", "media assets/s", "ratio to a", "ratio to d", "CPU s", "wall by phase, s"):
        table.add_column(column)
    for letter in sorted(by_letter):
        one = by_letter[letter]
        phases = ", ".join(f"{name} {value:.1f}" for name, value in one.phases.items())
        table.add_row(
            one.name,
            f"{one.rate:.2f}",
            f"{one.rate / by_letter['a'].rate:.2f}",
            f"{one.rate / by_letter['d'].rate:.1f}",
            f"{sum(one.cpu.values()):.1f}",
            phases,
        )
    console.print(table)
    cpu = Table(title="CPU milliseconds per media asset")
    cpu.add_column("phase or role")
    for letter in sorted(by_letter):
        cpu.add_column(by_letter[letter].name)
    for name in sorted({name for one in results for name in one.cpu}):
        values = (by_letter[letter] for letter in sorted(by_letter))
        cells = [
            f"{one.cpu[name] / one.assets * 1000:.2f}" if name in one.cpu else "" for one in values
        ]
        cpu.add_row(name, *cells)
    console.print(cpu)


if __name__ == "__main__":
    sys.exit(main())
