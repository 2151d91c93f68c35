"""The exporter as operators run it, on the stack that the other modules filled."""

import math
from itertools import islice
from pathlib import Path

import pytest

from media_pipeline.cli.producer import announce, upload
from media_pipeline.domain.outcome import Code
from media_pipeline.local_stack.sample_media import generate
from media_pipeline.telemetry.dashboard import ROWS
from tests.e2e.pipeline import ended, wait_until
from tests.e2e.prometheus_server import (
    legend,
    picture,
    running_exporter,
    running_prometheus,
    samples_of,
)

RULES = Path(__file__).parents[2] / "deploy/monitoring/prometheus/media-processing.rules.yml"

pytestmark = pytest.mark.timeout(400)  # alone, it waits for the stack's first forty media assets


@pytest.fixture(scope="module")
def exporter(stack, samples):
    with running_exporter(stack) as (_, address):
        # The first look imports Dagster, which may take longer than a scrape's deadline.
        wait_until(lambda: all_up(scrape(address)), "every dependency answers")
        yield address


def scrape(address):
    """{(name, label values...): value}"""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for sample in samples_of(address)
    }


def all_up(found):
    ups = {key: value for key, value in found.items() if key[0] == "media_pipeline_dependency_up"}
    return len(ups) == 5 and set(ups.values()) == {1}


def test_totals_are_the_ledgers(exporter, world, samples):
    found = scrape(exporter)
    counts = world.metadata_store.counts()
    for status, count in counts.by_status.items():
        assert found["media_assets", status] == count
    rejected = sum(
        n for key, n in found.items()
        if key[0] == "processor_events_failed_total" and key[2] == "intake"
    )  # fmt: skip
    assert rejected == counts.rejected >= 1
    for processor in world.settings.workloads:
        done = sum(found["processor_events_processed_total", str(code), processor] for code in Code)
        assert done >= len(samples)
        assert found["processor_duration_seconds_count", processor] == done
        assert found["processor_duration_seconds_bucket", "+Inf", processor] == done
    assert found["processor_input_bytes_total", "text"] > 0
    assert found["processor_output_bytes_total", "thumbnails"] > 0
    assert found["media_batch_assets_count",] >= 1
    assert found["media_asset_seconds_count",] >= len(samples)


def test_positions_runs_and_signs_of_life(exporter, world):
    def caught_up():
        found = scrape(exporter)
        lag = [n for key, n in found.items() if key[0] == "media_consumer_lag_messages"]
        return bool(lag) and not any(lag) and found

    found = wait_until(caught_up, "no lag on any Kafka partition")
    wait_until(lambda: scrape(exporter)["media_runs", "success"] >= 1, "the end of a run")
    assert found["media_daemon_heartbeat_age_seconds", "sensor"] < 300
    assert ("media_sensor_tick_age_seconds", "media_events_sensor") in found
    assert found["media_sensor_failed_ticks", "media_events_sensor"] == 0
    assert found["media_sensor_success_age_seconds", "media_events_sensor"] < 300
    assert found["media_outbox_rows",] == 0
    assert found["media_credential_seconds_left", "ledger_token"] > 0


def test_another_exporter_tells_the_same_totals_and_ends_at_term(exporter, stack):
    """Nothing is counted in the process: a restart resets no counter."""

    def totals(found):
        return {key: n for key, n in found.items() if key[0].startswith("processor_")}

    with running_exporter(stack) as (process, address):
        assert totals(scrape(address)) == totals(scrape(exporter))
        process.terminate()
        assert process.wait(30) == 0


#: What six media assets, one of them broken, make move.
MOVING = (
    "processor_events_processed_total", "processor_events_failed_total",
    "processor_output_bytes_total", "media_batch_assets_count", "media_asset_seconds_count",
)  # fmt: skip


def moves(prometheus, counter: str) -> bool:
    """As the graphs see it: between two scrapes of the last minute."""
    return bool(prometheus.value(f"sum(rate({counter}[60s]))"))


@pytest.fixture(scope="module")
def prometheus(exporter, world, tmp_path_factory):
    """A Prometheus that has seen six media assets go through."""
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), exporter, RULES) as found:
        wait_until(lambda: found.value('up{job="media-pipeline"}') == 1, "the first scrape")
        samples = list(islice(generate(40, seed=78), 6))
        announce(
            world,
            [upload(world, s.asset_id, s.filename, s.data, s.content_type) for s in samples],
        )
        wait_until(lambda: ended(world, [one.asset_id for one in samples]), "six media assets")
        done = sum(world.metadata_store.counts().by_status.values())
        wait_until(lambda: found.value("sum(media_assets)") == done, "a scrape of the end")
        for counter in MOVING:
            wait_until(lambda name=counter: moves(found, name), f"{counter} to move")
        yield found


def lines_of(prometheus, query):
    """{legend: [(time, value)]} without the points that are no number."""
    expr = query.expr.replace("$__rate_interval", "60s")
    found = {}
    for series in prometheus.series(expr):
        points = [(at, float(value)) for at, value in series["values"]]
        points = [(at, value) for at, value in points if math.isfinite(value)]
        if points:
            found[legend(query.legend, series["metric"])] = points
    return found


PANELS = [panel for row in ROWS for panel in row.panels]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_every_panel_shows_what_the_pipeline_did(prometheus, exporter, tmp_path, panel):
    lines = [lines_of(prometheus, query) for query in panel.queries]
    if panel.needs == "gpu" and "media_device_utilization_ratio" not in names_of(exporter):
        assert lines == [{}] * len(lines), "no GPU, no series"
        return
    if panel.needs == "pools" and "media_pool_slots" not in names_of(exporter):
        assert lines == [{}] * len(lines), "no limit is set, no series"
        return
    if panel.needs == "trouble":
        assert lines == [{}] * len(lines), "nothing stops the intake here"
        return
    assert all(lines), "a query without data"
    for found in lines:
        assert not [name for name in found if "{{" in name]
    drawn = picture(panel.title, {name: line for found in lines for name, line in found.items()})
    (tmp_path / f"{panel.title.replace('/', '-')}.svg").write_text(drawn)
    assert drawn.count("<polyline") == sum(map(len, lines))


def names_of(exporter):
    return {key[0] for key in scrape(exporter)}


def test_the_graphs_move_with_the_work(prometheus):
    """Not only lines: the six media assets are in them, each by several processors."""
    rate = "sum(max_over_time(processor_events_processed_total[5m]))"
    before = "sum(min_over_time(processor_events_processed_total[5m]))"
    assert prometheus.value(f"{rate} - {before}") >= 12
    assert prometheus.value("sum(increase(processor_input_bytes_total[5m]))") > 0
    slow = "histogram_quantile(0.95, sum by (le) (rate(processor_duration_seconds_bucket[5m])))"
    assert prometheus.value(slow) > 0


def test_all_rules_are_evaluated_and_nothing_alarms_for_a_healthy_pipeline(prometheus):
    wait_until(
        lambda: "unknown" not in {rule["health"] for rule in prometheus.rules()},
        "the first evaluation of every rule",
    )
    rules = prometheus.rules()
    assert {rule["health"] for rule in rules} == {"ok"}
    firing = [rule["name"] for rule in rules if rule.get("state") == "firing"]
    assert firing == []
