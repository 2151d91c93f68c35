"""The registry: names, labels and the table that is made from it."""

import re
from pathlib import Path

import pytest

from media_pipeline.telemetry.metrics import METRICS, markdown_table, series_names

ROOT = Path(__file__).resolve().parents[3]
UNITS = ("_seconds", "_bytes_total", "_ratio")


def test_the_runbooks_names_are_there_to_the_letter():
    assert {
        "processor_events_processed_total", "processor_events_failed_total",
        "processor_duration_seconds_bucket",
    } <= set(series_names())  # fmt: skip


@pytest.mark.parametrize("metric", METRICS, ids=lambda one: one.name)
def test_a_metric_follows_the_naming_rules(metric):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.help.endswith(".")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    if metric.unit == "seconds":
        assert "_seconds" in metric.name
    if metric.unit == "bytes":
        assert "_bytes" in metric.name


@pytest.mark.parametrize("metric", METRICS, ids=lambda one: one.name)
def test_labels_are_closed_sets(metric):
    """A label per media asset, run or offset would make series without end."""
    endless = {"asset", "asset_id", "media_asset", "content_version", "run", "run_id", "offset"}
    assert not endless & set(metric.labels)


def test_no_name_twice():
    names = [one.name for one in METRICS]
    assert len(names) == len(set(names))


def test_the_documented_table_is_the_registry():
    documented = (ROOT / "deploy" / "monitoring" / "metrics.md").read_text()
    assert documented == markdown_table(), (
        "run: media-pipeline exporter --table > deploy/monitoring/metrics.md"
    )
