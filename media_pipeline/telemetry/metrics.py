"""The metric registry: every metric that this system exports, once, typed and explained.

Nobody else spells a metric's name: the exporter, the dashboard and the alert rules take it from
here or are tested against it. Labels are closed sets (processors, codes, topics, pools); an
asset id is never one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Source = Literal["ledger", "event_log", "dagster", "credentials", "device", "exporter"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family. `source`: who must answer for it; without that answer it is absent.

    `buckets`: upper bounds of a histogram without infinity, in `unit`; those of the ledger are
    counted by the migrations and must be the same there.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...]
    source: Source
    buckets: tuple[float, ...] = ()


#: What people and dashboards of the runbook know by name.
EVENTS_PROCESSED = Metric(
    "processor_events_processed_total", "counter", "media assets",
    "Media assets that a processor has ended, by outcome, once for each run and its retries;"
    " `transient`: attempts that a retry follows.",
    ("processor", "outcome"), "ledger",
)  # fmt: skip
EVENTS_FAILED = Metric(
    "processor_events_failed_total", "counter", "media assets",
    "Media assets that a processor could not handle, by code; processor `intake`: messages that"
    " no contract accepts.",
    ("processor", "code"), "ledger",
)  # fmt: skip
DURATION = Metric(
    "processor_duration_seconds", "histogram", "seconds",
    "Wall time of a processor for one media asset.",
    ("processor",), "ledger",
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)  # fmt: skip
ASSET_SECONDS = Metric(
    "media_asset_seconds", "histogram", "seconds",
    "From the registration of a message (or of its replay) to the outcome of its media asset.",
    (), "ledger",
    (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10800, 43200, 86400),
)  # fmt: skip
ASSETS = Metric(
    "media_assets", "gauge", "content versions",
    "Content versions in the ledger, by status.",
    ("status",), "ledger",
)  # fmt: skip
OLDEST_UNFINISHED = Metric(
    "media_oldest_unfinished_seconds", "gauge", "seconds",
    "How long the oldest media asset without outcome has waited; 0 when none waits.",
    ("lane",), "ledger",
)  # fmt: skip
BATCH_ASSETS = Metric(
    "media_batch_assets", "histogram", "media assets",
    "Media assets recorded by one run at once.",
    (), "ledger",
    (1, 5, 10, 25, 50, 100, 200, 300, 400, 500, 1000),
)  # fmt: skip
INPUT_BYTES = Metric(
    "processor_input_bytes_total", "counter", "bytes",
    "Bytes of the uploads that a processor was given.",
    ("processor",), "ledger",
)  # fmt: skip
OUTPUT_BYTES = Metric(
    "processor_output_bytes_total", "counter", "bytes",
    "Bytes of the derived objects that a processor made.",
    ("processor",), "ledger",
)  # fmt: skip
WORKER_KILLS = Metric(
    "media_worker_kills_total", "counter", "media assets",
    "Media assets that the cage ended, by reason: timeout, memory, crash.",
    ("processor", "reason"), "ledger",
)  # fmt: skip
OUTBOX_ROWS = Metric(
    "media_outbox_rows", "gauge", "events",
    "Events in the outbox that are not published.",
    (), "ledger",
)  # fmt: skip
OUTBOX_OLDEST = Metric(
    "media_outbox_oldest_seconds", "gauge", "seconds",
    "Age of the oldest event that is not published; 0 when all are.",
    (), "ledger",
)  # fmt: skip
DEAD_LETTERS_OPEN = Metric(
    "media_dead_letters_open", "gauge", "dead letters",
    "Dead letters that nobody has replayed or discarded, by stage and code.",
    ("stage", "code"), "ledger",
)  # fmt: skip
BREAKER_OPEN = Metric(
    "media_breaker_open", "gauge", "1",
    "Systemic errors for which the intake has stopped, by code; absent when none.",
    ("code",), "ledger",
)  # fmt: skip
PAUSED_SECONDS = Metric(
    "media_paused_seconds", "gauge", "seconds",
    "How long a scope has been paused; absent when none is.",
    ("scope",), "ledger",
)  # fmt: skip
CONSUMER_LAG = Metric(
    "media_consumer_lag_messages", "gauge", "messages",
    "Messages between the sensor's position and the high watermark.",
    ("topic", "kafka_partition"), "event_log",
)  # fmt: skip
RUNS = Metric(
    "media_runs", "gauge", "runs",
    "Runs in Dagster's storage, by status.",
    ("status",), "dagster",
)  # fmt: skip
POOL_SLOTS = Metric(
    "media_pool_slots", "gauge", "slots",
    "Slots of a pool, where a limit is set.",
    ("pool",), "dagster",
)  # fmt: skip
POOL_SLOTS_USED = Metric(
    "media_pool_slots_used", "gauge", "slots",
    "Slots of a pool that steps hold.",
    ("pool",), "dagster",
)  # fmt: skip
POOL_STEPS_WAITING = Metric(
    "media_pool_steps_waiting", "gauge", "steps",
    "Steps that wait for a slot of a pool.",
    ("pool",), "dagster",
)  # fmt: skip
DAEMON_HEARTBEAT = Metric(
    "media_daemon_heartbeat_age_seconds", "gauge", "seconds",
    "Since the last sign of life of each of Dagster's daemons.",
    ("daemon",), "dagster",
)  # fmt: skip
SENSOR_TICK = Metric(
    "media_sensor_tick_age_seconds", "gauge", "seconds",
    "Since the last tick of each running sensor began.",
    ("sensor",), "dagster",
)  # fmt: skip
SENSOR_FAILED_TICKS = Metric(
    "media_sensor_failed_ticks", "gauge", "ticks",
    "Ticks of each running sensor that failed in a row up to now; 0 after one that ended well.",
    ("sensor",), "dagster",
)  # fmt: skip
SENSOR_SUCCESS = Metric(
    "media_sensor_success_age_seconds", "gauge", "seconds",
    "Since the last tick of each running sensor that ended well began; without any, since the"
    " sensor was started.",
    ("sensor",), "dagster",
)  # fmt: skip
CREDENTIAL_SECONDS = Metric(
    "media_credential_seconds_left", "gauge", "seconds",
    "Until a credential expires; absent for one that never does.",
    ("credential",), "credentials",
)  # fmt: skip
DEVICE_UTILIZATION = Metric(
    "media_device_utilization_ratio", "gauge", "ratio 0..1",
    "How busy a GPU is; absent where there is none.",
    ("device",), "device",
)  # fmt: skip
DEVICE_MEMORY = Metric(
    "media_device_memory_ratio", "gauge", "ratio 0..1",
    "Memory of a GPU in use; absent where there is none.",
    ("device",), "device",
)  # fmt: skip
DEPENDENCY_UP = Metric(
    "media_pipeline_dependency_up", "gauge", "0 or 1",
    "Whether a dependency answered this scrape in time.",
    ("dependency",), "exporter",
)  # fmt: skip
DEPENDENCY_SECONDS = Metric(
    "media_pipeline_dependency_seconds", "gauge", "seconds",
    "How long a dependency took to answer this scrape; absent when it did not.",
    ("dependency",), "exporter",
)  # fmt: skip
BUILD = Metric(
    "media_pipeline_build_info", "gauge", "1",
    "Version and image of the exporter.",
    ("version", "image"), "exporter",
)  # fmt: skip

METRICS: tuple[Metric, ...] = (
    EVENTS_PROCESSED, EVENTS_FAILED, DURATION, ASSET_SECONDS, ASSETS, OLDEST_UNFINISHED,
    BATCH_ASSETS, INPUT_BYTES, OUTPUT_BYTES, WORKER_KILLS, OUTBOX_ROWS, OUTBOX_OLDEST,
    DEAD_LETTERS_OPEN, BREAKER_OPEN, PAUSED_SECONDS, CONSUMER_LAG, RUNS, POOL_SLOTS,
    POOL_SLOTS_USED, POOL_STEPS_WAITING,
    DAEMON_HEARTBEAT, SENSOR_TICK, SENSOR_FAILED_TICKS, SENSOR_SUCCESS, CREDENTIAL_SECONDS,
    DEVICE_UTILIZATION, DEVICE_MEMORY, DEPENDENCY_UP, DEPENDENCY_SECONDS, BUILD,
)  # fmt: skip


def series_names() -> dict[str, Metric]:
    """Name of every series as Prometheus stores it -> its metric: histograms have three."""
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    return {
        metric.name + suffix: metric
        for metric in METRICS
        for suffix in suffixes.get(metric.kind, ("",))
    }


def markdown_table() -> str:
    """All metrics for people; deploy/monitoring/metrics.md is this, checked by a test."""
    lines = [
        "# Metrics",
        "",
        "Made by `media-pipeline exporter --table` from `media_pipeline/telemetry/metrics.py`.",
        "A series whose source does not answer is absent, never a wrong zero.",
        "",
        "| metric | kind | unit | labels | source | meaning |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{one.name}` | {one.kind} | {one.unit} | {', '.join(one.labels) or '-'}"
        f" | {one.source} | {one.help} |"
        for one in METRICS
    ]
    return "\n".join(lines) + "\n"
