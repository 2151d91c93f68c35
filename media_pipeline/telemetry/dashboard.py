"""The Grafana dashboard `Media / Processing` as a value; the JSON file is made from it.

`deploy/monitoring/grafana/dashboards/media-processing.json` is this, checked by a test. Edit
here, then: `media-pipeline exporter --dashboard > <that file>`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

TITLE = "Media / Processing"
UID = "media-processing"
_WIDTH, _HEIGHT, _PER_ROW = 8, 8, 3

Unit = Literal[
    "short", "reqps", "percentunit", "s", "Bps", "none", "bool_yes_no"
]  # Grafana's names


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and how Grafana names its series."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph. `needs`: what a machine must have for data to be there; empty: nothing."""

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    needs: Literal["", "gpu", "pools", "trouble"] = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A headline and its panels."""

    title: str
    panels: tuple[Panel, ...]


def _rate(series: str, by: str) -> str:
    return f"sum by ({by}) (rate({series}[$__rate_interval]))"


def _quantile(quantile: float, histogram: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({quantile}, {_rate(f'{histogram}_bucket', labels)})"


_THROUGHPUT = Row("Throughput", (
    Panel(
        "Event throughput", "Media assets that each processor ended, per second.", "reqps",
        (Query(_rate("processor_events_processed_total", "processor"), "{{processor}}"),),
    ),
    Panel(
        "Media assets by status", "Content versions in the ledger.", "short",
        (Query("sum by (status) (media_assets)", "{{status}}"),),
    ),
    Panel(
        "Runs", "Runs that wait or work, and failed ones.", "short",
        (Query('sum by (status) (media_runs{status!~"success|canceled"})', "{{status}}"),),
    ),
    Panel(
        "Batch size", "Media assets per run; small batches pay a run's start for little.", "short",
        (Query(_quantile(0.5, "media_batch_assets"), "median"),
         Query(_quantile(0.95, "media_batch_assets"), "p95")),
    ),
    Panel(
        "Bytes in", "Uploads that processors were given.", "Bps",
        (Query(_rate("processor_input_bytes_total", "processor"), "{{processor}}"),),
    ),
    Panel(
        "Bytes out", "Derived objects that processors made.", "Bps",
        (Query(_rate("processor_output_bytes_total", "processor"), "{{processor}}"),),
    ),
))  # fmt: skip
_ERRORS = Row("Errors", (
    Panel(
        "Error rate", "Failures per second, of codes that happen; `intake`: messages that no"
        " contract accepts.", "reqps",
        (Query(f"{_rate('processor_events_failed_total', 'processor, code')} > 0",
               "{{processor}} {{code}}"),),
    ),
    Panel(
        "Error ratio", "Failures per media asset; the alert looks at the burn rate of this.",
        "percentunit",
        (Query(f"{_rate('processor_events_failed_total', 'processor')} / "
               f"{_rate('processor_events_processed_total', 'processor')}", "{{processor}}"),),
    ),
    Panel(
        "Workers ended by the cage", "Deadline, memory limit, crash: hostile or broken files.",
        "reqps",
        (Query(_rate("media_worker_kills_total", "processor, reason"),
               "{{processor}} {{reason}}"),),
    ),
))  # fmt: skip
_LATENCY = Row("Latency", (
    Panel(
        "Processing latency, p95", "Wall time of a processor for one media asset.", "s",
        (Query(_quantile(0.95, "processor_duration_seconds", "processor"), "{{processor}}"),),
    ),
    Panel(
        "Registered to outcome", "What an uploader waits for.", "s",
        (Query(_quantile(0.5, "media_asset_seconds"), "median"),
         Query(_quantile(0.95, "media_asset_seconds"), "p95")),
    ),
    Panel(
        "Oldest unfinished", "How long the oldest media asset without outcome has waited.", "s",
        (Query("max by (lane) (media_oldest_unfinished_seconds)", "{{lane}}"),),
    ),
))  # fmt: skip
_LAG = Row("Lag", (
    Panel(
        "Queue depth (consumer lag)", "Messages that the sensor has not read.", "short",
        (Query("media_consumer_lag_messages", "{{topic}} / {{kafka_partition}}"),),
    ),
    Panel(
        "Outbox", "Events that are decided and not published.", "short",
        (Query("media_outbox_rows", "events"),),
    ),
    Panel(
        "Oldest event in the outbox", "Grows while the relay or the brokers stand still.", "s",
        (Query("media_outbox_oldest_seconds", "age"),),
    ),
    Panel(
        "Pool slots in use", "1: every slot is taken and steps wait.", "percentunit",
        (Query("media_pool_slots_used / media_pool_slots", "{{pool}}"),), needs="pools",
    ),
    Panel(
        "Steps waiting for a slot", "What more slots would start now.", "short",
        (Query("media_pool_steps_waiting", "{{pool}}"),), needs="pools",
    ),
))  # fmt: skip
_DEAD_LETTERS = Row("Dead letters", (
    Panel(
        "Open dead letters", "Waiting for somebody to replay or discard them.", "short",
        (Query("sum by (stage, code) (media_dead_letters_open)", "{{stage}} {{code}}"),),
    ),
    Panel(
        "New open dead letters, one hour", "Falls when letters are replayed or discarded.", "short",
        (Query("sum by (code) (delta(media_dead_letters_open[1h]))", "{{code}}"),),
    ),
))  # fmt: skip
_DEPENDENCIES = Row("Dependencies", (
    Panel(
        "Dependencies up", "Look here before blaming processors.", "bool_yes_no",
        (Query("media_pipeline_dependency_up", "{{dependency}}"),),
    ),
    Panel(
        "Time to answer", "What a look from the exporter takes.", "s",
        (Query("media_pipeline_dependency_seconds", "{{dependency}}"),),
    ),
    Panel(
        "Open breakers and pauses", "Why the intake launches nothing; empty: nothing stops it.",
        "none",
        (Query("media_breaker_open", "breaker {{code}}"),
         Query("media_paused_seconds > bool 0", "paused {{scope}}")), needs="trouble",
    ),
    Panel(
        "Credentials, time left", "Until the credential in use expires.", "s",
        (Query("media_credential_seconds_left", "{{credential}}"),),
    ),
    Panel(
        "Daemons, last sign of life", "Dagster's daemons write one every 30 s.", "s",
        (Query("media_daemon_heartbeat_age_seconds", "{{daemon}}"),),
    ),
    Panel(
        "Sensors, last tick", "A sensor that does not tick reads no messages.", "s",
        (Query("media_sensor_tick_age_seconds", "{{sensor}}"),),
    ),
    Panel(
        "Sensors, failed ticks in a row", "0: the last tick ended well.", "short",
        (Query("media_sensor_failed_ticks", "{{sensor}}"),),
    ),
    Panel(
        "Sensors, last tick that ended well", "Climbs while ticks fail.", "s",
        (Query("media_sensor_success_age_seconds", "{{sensor}}"),),
    ),
))  # fmt: skip
_GPU = Row("GPU", (
    Panel(
        "GPU utilisation", "Near 1 with steps waiting: saturated.", "percentunit",
        (Query("media_device_utilization_ratio", "GPU {{device}}"),), needs="gpu",
    ),
    Panel(
        "GPU memory", "Near 1: halve MEDIA_PIPELINE_PROCESSING__MODERATION_BATCH.", "percentunit",
        (Query("media_device_memory_ratio", "GPU {{device}}"),), needs="gpu",
    ),
))  # fmt: skip
_COST = Row("Cost", (
    Panel(
        "Processor seconds per second", "Workers that are busy on average, by processor.", "short",
        (Query(_rate("processor_duration_seconds_sum", "processor"), "{{processor}}"),),
    ),
    Panel(
        "Processor seconds per media asset", "What one media asset costs, since the beginning.",
        "s",
        (Query("sum by (processor) (processor_duration_seconds_sum)"
               " / sum by (processor) (processor_duration_seconds_count)", "{{processor}}"),),
    ),
    Panel(
        "Bytes stored per byte read", "Size of what is derived, since the beginning.",
        "percentunit",
        (Query("sum by (processor) (processor_output_bytes_total)"
               " / sum by (processor) (processor_input_bytes_total)", "{{processor}}"),),
    ),
))  # fmt: skip
ROWS = (_THROUGHPUT, _ERRORS, _LATENCY, _LAG, _DEAD_LETTERS, _DEPENDENCIES, _GPU, _COST)


def dashboard_json() -> str:
    """The file that Grafana provisions."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in ROWS:
        place = {"x": 0, "y": top, "w": 24, "h": 1}
        panels.append({"type": "row", "id": len(panels) + 1, "title": row.title, "gridPos": place})
        top += 1
        for number, panel in enumerate(row.panels):
            below, column = divmod(number, _PER_ROW)
            place = {
                "x": column * _WIDTH, "y": top + below * _HEIGHT, "w": _WIDTH, "h": _HEIGHT,
            }  # fmt: skip
            panels.append({"id": len(panels) + 1, "gridPos": place, **_panel(panel)})
        top += -(-len(row.panels) // _PER_ROW) * _HEIGHT
    document = {
        "title": TITLE,
        "uid": UID,
        "tags": ["media"],
        "timezone": "utc",
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_DATA_SOURCE_VARIABLE]},
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
    }
    return json.dumps(document, indent=2) + "\n"


_DATA_SOURCE_VARIABLE = {
    "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
    "hide": 0, "refresh": 1, "current": {},
}  # fmt: skip
_DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATA_SOURCE,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "custom": {"fillOpacity": 8}},
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _DATA_SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
            }
            for number, query in enumerate(panel.queries)
        ],
    }
