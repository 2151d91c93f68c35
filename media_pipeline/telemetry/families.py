"""Figures to samples: pure. What a source did not tell gets no sample."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import Metric as Family

from media_pipeline.domain.outcome import Code
from media_pipeline.domain.recovery import Controls, flag_name
from media_pipeline.telemetry import metrics
from media_pipeline.telemetry.figures import (
    DeviceFigures,
    EventLogFigures,
    LedgerFigures,
    OrchestratorFigures,
    Row,
)
from media_pipeline.telemetry.metrics import Metric

KILL_REASONS = (Code.TIMEOUT, Code.MEMORY, Code.CRASH)
LANES = ("live", "backfill")
STATUSES = ("registered", "claimed", "retry", "complete", "partial", "dead_lettered")
#: Processor name of messages that no contract accepts.
INTAKE = "intake"


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram: upper bound -> cumulative count, infinity included, and the sum."""

    counts: Mapping[float, float]
    total: float


@dataclass
class Samples:
    """Samples of one scrape, checked against the registry as they are added."""

    _values: defaultdict[str, list[tuple[tuple[str, ...], float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _distributions: defaultdict[str, list[tuple[tuple[str, ...], Distribution]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """One sample of a counter or gauge; ValueError when the labels are not the metric's."""
        _check(metric, labels)
        self._values[metric.name].append((labels, value))

    def add_histogram(self, metric: Metric, distribution: Distribution, *labels: str) -> None:
        """One histogram; ValueError for bounds that the registry does not know."""
        _check(metric, labels)
        strange = set(distribution.counts) - {*metric.buckets, math.inf}
        if strange:
            raise ValueError(f"{metric.name} has no buckets {sorted(strange)}")
        self._distributions[metric.name].append((labels, distribution))

    def families(self) -> Iterator[Family]:
        """In the registry's order; a metric without samples is left out."""
        for metric in metrics.METRICS:
            if metric.name in self._values:
                kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                family = kind(metric.name, metric.help, labels=metric.labels)
                for labels, value in self._values[metric.name]:
                    family.add_metric(labels, value)
                yield family
            elif metric.name in self._distributions:
                yield _histogram(metric, self._distributions[metric.name])


def _check(metric: Metric, labels: tuple[str, ...]) -> None:
    if len(labels) != len(metric.labels):
        raise ValueError(f"{metric.name} has the labels {metric.labels}, not {labels}")


def _histogram(
    metric: Metric, found: Sequence[tuple[tuple[str, ...], Distribution]]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, one in found:
        # A bound without a row has seen nothing so small.
        buckets = [(str(float(le)), one.counts.get(le, 0)) for le in metric.buckets]
        buckets.append(("+Inf", one.counts.get(math.inf, 0)))
        family.add_metric(labels, buckets=buckets, sum_value=one.total)
    return family


def add_ledger(samples: Samples, figures: LedgerFigures, processors: Iterable[str]) -> None:
    """`processors`: named even before they have done anything, so that their first failure is
    a step from 0 and not a series from nowhere."""
    counts = {(row["processor"], row["outcome"]): row["count"] for row in figures.processors}
    for processor in sorted({*processors, *(name for name, _ in counts)}):
        for code in Code:
            count = counts.get((processor, str(code)), 0)
            samples.add(metrics.EVENTS_PROCESSED, count, processor, str(code))
            if not code.handled:
                samples.add(metrics.EVENTS_FAILED, count, processor, str(code))
            if code in KILL_REASONS:
                samples.add(metrics.WORKER_KILLS, count, processor, str(code))
    _add_durations(samples, figures)
    _add_totals(samples, figures)
    for status in STATUSES:
        samples.add(metrics.ASSETS, figures.statuses.get(status, 0), status)
    for lane in LANES:
        samples.add(metrics.OLDEST_UNFINISHED, figures.oldest_unfinished.get(lane, 0.0), lane)
    samples.add(metrics.OUTBOX_ROWS, figures.outbox_rows)
    samples.add(metrics.OUTBOX_OLDEST, figures.outbox_oldest or 0.0)
    for row in figures.dead_letters:
        samples.add(metrics.DEAD_LETTERS_OPEN, row["count"], row["stage"], row["code"])


def _add_durations(samples: Samples, figures: LedgerFigures) -> None:
    seconds: defaultdict[str, float] = defaultdict(float)
    for row in figures.processors:
        seconds[row["processor"]] += row["seconds"]
    for processor, counts in sorted(_cumulative(figures.durations, "processor").items()):
        distribution = Distribution(counts, seconds[processor])
        samples.add_histogram(metrics.DURATION, distribution, processor)


def _add_totals(samples: Samples, figures: LedgerFigures) -> None:
    totals = {(row["figure"], row["label"]): float(row["value"]) for row in figures.totals}
    plain = {"input_bytes": metrics.INPUT_BYTES, "output_bytes": metrics.OUTPUT_BYTES}
    for (figure, label), value in sorted(totals.items()):
        if figure in plain:
            samples.add(plain[figure], value, label)
        elif figure == "rejected":
            samples.add(metrics.EVENTS_FAILED, value, INTAKE, label)
    histograms = {"batch_assets": metrics.BATCH_ASSETS, "asset_seconds": metrics.ASSET_SECONDS}
    for figure, counts in sorted(_cumulative(figures.buckets, "figure").items()):
        distribution = Distribution(counts, totals[figure, ""])
        samples.add_histogram(histograms[figure], distribution)


def _cumulative(rows: Iterable[Row], key: str) -> dict[str, dict[float, float]]:
    found: defaultdict[str, dict[float, float]] = defaultdict(dict)
    for row in rows:
        found[row[key]][float(row["le"])] = row["count"]  # "Infinity" is how JSON says it
    return dict(found)


def add_controls(samples: Samples, controls: Controls, now: float) -> None:
    """Open breakers and pauses; `now`: seconds since the epoch."""
    for breaker in controls.breakers:
        samples.add(metrics.BREAKER_OPEN, 1, breaker.code)
    since = {flag.name: flag.at for flag in controls.flags}
    for scope in controls.paused_scopes():
        samples.add(metrics.PAUSED_SECONDS, max(0.0, now - since[flag_name(scope)]), scope)


def add_event_log(samples: Samples, figures: EventLogFigures, cursor: Mapping[int, int]) -> None:
    """Lag of the sensor; see `EventLogFigures.lag`."""
    for partition, lag in figures.lag(cursor).items():
        samples.add(metrics.CONSUMER_LAG, lag, figures.topic, str(partition))


def add_orchestrator(samples: Samples, figures: OrchestratorFigures) -> None:
    """Runs, pools, and the signs of life of daemons and sensors."""
    for status, count in figures.runs.items():
        samples.add(metrics.RUNS, count, status)
    for pool, slots in sorted(figures.pools.items()):
        samples.add(metrics.POOL_SLOTS, slots.slots, pool)
        samples.add(metrics.POOL_SLOTS_USED, slots.used, pool)
        samples.add(metrics.POOL_STEPS_WAITING, slots.waiting, pool)
    for daemon, age in sorted(figures.heartbeat_ages.items()):
        samples.add(metrics.DAEMON_HEARTBEAT, age, daemon)
    for sensor, age in sorted(figures.tick_ages.items()):
        samples.add(metrics.SENSOR_TICK, age, sensor)
    for sensor, count in sorted(figures.failed_ticks.items()):
        samples.add(metrics.SENSOR_FAILED_TICKS, count, sensor)
    for sensor, age in sorted(figures.success_ages.items()):
        samples.add(metrics.SENSOR_SUCCESS, age, sensor)


def add_credentials(samples: Samples, seconds_left: Mapping[str, float]) -> None:
    """Negative once expired."""
    for name, left in sorted(seconds_left.items()):
        samples.add(metrics.CREDENTIAL_SECONDS, left, name)


def add_devices(samples: Samples, devices: Mapping[str, DeviceFigures]) -> None:
    """Nothing where there is no GPU."""
    for name, device in sorted(devices.items()):
        samples.add(metrics.DEVICE_UTILIZATION, device.utilization, name)
        samples.add(metrics.DEVICE_MEMORY, device.memory, name)
