"""The dashboard as a value: its file, its queries and what they ask for."""

import json
from pathlib import Path

import promql_parser
import pytest

from media_pipeline.telemetry.dashboard import ROWS, TITLE, dashboard_json
from media_pipeline.telemetry.metrics import METRICS, series_names
from tests.promql import selectors

ROOT = Path(__file__).resolve().parents[3]
PANELS = [panel for row in ROWS for panel in row.panels]
QUERIES = [(panel, query) for panel in PANELS for query in panel.queries]
#: Not worth a graph: whoever runs the exporter reads its version there.
UNDRAWN = {"media_pipeline_build_info"}


def ids(case):
    return f"{case[0].title}: {case[1].legend}"


def test_the_provisioned_file_is_the_dashboard():
    file = ROOT / "deploy/monitoring/grafana/dashboards/media-processing.json"
    assert file.read_text() == dashboard_json(), (
        f"run: media-pipeline exporter --dashboard > {file.relative_to(ROOT)}"
    )


def test_the_runbooks_panels_are_there_to_the_letter():
    assert TITLE == "Media / Processing"
    shown = {panel.title: [query.expr for query in panel.queries] for panel in PANELS}
    assert "processor_events_processed_total" in shown["Event throughput"][0]
    assert "processor_events_failed_total" in shown["Error rate"][0]
    assert "processor_duration_seconds" in shown["Processing latency, p95"][0]
    assert "media_consumer_lag_messages" in shown["Queue depth (consumer lag)"][0]


@pytest.mark.parametrize("case", QUERIES, ids=ids)
def test_a_query_is_promql_over_known_series_and_labels(case):
    found = selectors(promql_parser.parse(case[1].expr.replace("$__rate_interval", "5m")))
    assert found
    known = series_names()
    for name, labels in found:
        extra = {"le"} if name.endswith("_bucket") else set()
        assert labels <= {*known[name].labels, *extra}


@pytest.mark.parametrize("case", QUERIES, ids=ids)
def test_a_legend_names_labels_that_the_series_have(case):
    names = series_names()
    asked = selectors(promql_parser.parse(case[1].expr.replace("$__rate_interval", "5m")))
    labels = {label for name, _ in asked for label in names[name].labels}
    for part in case[1].legend.split("{{")[1:]:
        assert part.partition("}}")[0] in labels


def test_every_metric_is_drawn_somewhere():
    names = series_names()
    drawn = {
        names[name].name
        for _, query in QUERIES
        for name, _ in selectors(promql_parser.parse(query.expr.replace("$__rate_interval", "5m")))
    }
    assert {metric.name for metric in METRICS} - drawn == UNDRAWN


def test_panels_do_not_lie_on_each_other():
    taken = set()
    for panel in json.loads(dashboard_json())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    numbers = [panel["id"] for panel in json.loads(dashboard_json())["panels"]]
    assert len(set(numbers)) == len(numbers)
