"""The exporter as operators run it, on the stack that the other modules filled."""

import subprocess
import sys
from contextlib import contextmanager

import pytest
import requests

from media_pipeline.cli.dagster_process import dagster_environment
from media_pipeline.domain.outcome import Code
from tests.e2e.pipeline import wait_until


@contextmanager
def running_exporter(stack):
    """Yields (process, address of /metrics)."""
    command = [sys.executable, "-W", "ignore", "-m", "media_pipeline.cli.main", "exporter"]
    process = subprocess.Popen(
        [*command, "--port", "0"],
        env={"PATH": "/usr/bin:/bin", **dagster_environment(stack)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        address = process.stdout.readline().strip()
        assert address, "the exporter ended at its start"
        yield process, address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def exporter(stack, samples):
    with running_exporter(stack) as (_, address):
        # The first look imports Dagster, which may take longer than a scrape's deadline.
        wait_until(lambda: all_up(scrape(address)), "every dependency answers")
        yield address


def scrape(address):
    """{(name, label values...): value}"""
    from prometheus_client.parser import text_string_to_metric_families

    answer = requests.get(address, timeout=60)
    answer.raise_for_status()
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
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
    assert found["media_runs", "success"] >= 1
    assert found["media_daemon_heartbeat_age_seconds", "sensor"] < 300
    assert ("media_sensor_tick_age_seconds", "media_events_sensor") in found
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
