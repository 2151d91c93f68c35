"""Figures to samples."""

import pytest

from media_pipeline.domain.recovery import Breaker, Controls, Flag
from media_pipeline.telemetry import metrics
from media_pipeline.telemetry.families import (
    Distribution,
    Samples,
    add_controls,
    add_devices,
    add_event_log,
    add_ledger,
    add_orchestrator,
)
from media_pipeline.telemetry.figures import (
    DeviceFigures,
    EventLogFigures,
    LedgerFigures,
    OrchestratorFigures,
    PoolFigures,
    read_event_log,
)
from tests.fakes.event_log import FakeEventLog


def told(samples):
    """{series: {labels: value}}"""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in samples.families()
        for sample in family.samples
    }


def test_a_processor_that_has_done_nothing_has_zeros_to_rise_from():
    samples = Samples()
    add_ledger(samples, LedgerFigures(), ["ocr"])
    found = told(samples)
    failed = ("processor_events_failed_total", ("code", "timeout"), ("processor", "ocr"))
    assert found[failed] == 0
    kills = ("media_worker_kills_total", ("processor", "ocr"), ("reason", "crash"))
    assert found[kills] == 0
    assert ("processor_duration_seconds_count", ("processor", "ocr")) not in found


def test_outcomes_become_totals_failures_and_kills():
    rows = [
        {"processor": "text", "outcome": "ok", "count": 7, "seconds": 1.5},
        {"processor": "text", "outcome": "timeout", "count": 2, "seconds": 60.0},
        {"processor": "text", "outcome": "not_applicable", "count": 3, "seconds": 0.1},
    ]
    samples = Samples()
    add_ledger(samples, LedgerFigures(processors=rows), [])
    found = told(samples)
    assert found["processor_events_processed_total", ("outcome", "ok"), ("processor", "text")] == 7
    failures = {key: n for key, n in found.items() if key[0] == "processor_events_failed_total"}
    assert {key[1][1]: n for key, n in failures.items() if n} == {"timeout": 2}
    assert ("code", "not_applicable") not in {key[1] for key in failures}
    assert found["media_worker_kills_total", ("processor", "text"), ("reason", "timeout")] == 2


def test_a_histogram_has_all_bounds_and_infinity():
    rows = [{"processor": "text", "le": "Infinity", "count": 3}]
    rows += [{"processor": "text", "le": le, "count": 1} for le in metrics.DURATION.buckets[5:]]
    processors = [{"processor": "text", "outcome": "ok", "count": 3, "seconds": 400.25}]
    samples = Samples()
    add_ledger(samples, LedgerFigures(processors=processors, durations=rows), [])
    found = told(samples)
    buckets = [n for key, n in found.items() if key[0] == "processor_duration_seconds_bucket"]
    assert buckets == [0] * 5 + [1] * 8 + [3]
    assert found["processor_duration_seconds_count", ("processor", "text")] == 3
    assert found["processor_duration_seconds_sum", ("processor", "text")] == 400.25


def test_rejected_messages_are_failures_of_the_intake():
    totals = [{"figure": "rejected", "label": "malformed_json", "value": 4.0}]
    samples = Samples()
    add_ledger(samples, LedgerFigures(totals=totals), [])
    key = ("processor_events_failed_total", ("code", "malformed_json"), ("processor", "intake"))
    assert told(samples)[key] == 4


def test_a_sample_that_the_registry_does_not_know_is_refused():
    samples = Samples()
    with pytest.raises(ValueError, match="labels"):
        samples.add(metrics.RUNS, 1)
    with pytest.raises(ValueError, match="buckets"):
        samples.add_histogram(metrics.DURATION, Distribution({0.3: 1}, 1), "text")


def test_nothing_told_is_nothing_exported():
    assert told(Samples()) == {}
    samples = Samples()
    add_devices(samples, {})
    assert told(samples) == {}
    add_devices(samples, {"0": DeviceFigures(0.5, 0.25)})
    assert told(samples)["media_device_utilization_ratio", ("device", "0")] == 0.5


def test_pools_and_signs_of_life():
    figures = OrchestratorFigures(
        {"queued": 3}, {"ocr": PoolFigures(4, 2, 9)}, {"sensor": 1.5}, {"relay": 2.5}, {},
        {"relay": 4}, {"relay": 70.5},
    )  # fmt: skip
    samples = Samples()
    add_orchestrator(samples, figures)
    found = told(samples)
    assert found["media_runs", ("status", "queued")] == 3
    assert found["media_pool_slots_used", ("pool", "ocr")] == 2
    assert found["media_pool_steps_waiting", ("pool", "ocr")] == 9
    assert found["media_daemon_heartbeat_age_seconds", ("daemon", "sensor")] == 1.5
    assert found["media_sensor_tick_age_seconds", ("sensor", "relay")] == 2.5
    assert found["media_sensor_failed_ticks", ("sensor", "relay")] == 4
    assert found["media_sensor_success_age_seconds", ("sensor", "relay")] == 70.5


def test_breakers_and_pauses():
    flags = (
        Flag("pause", {"paused": False}, "over", "me", 100.0),
        Flag("pause:bucket:media", {"paused": True}, "why", "me", 400.0),
    )
    breaker = Breaker("ledger_denied", "half_open", "RLS", None, 1, 0.0, -1.0)
    samples = Samples()
    add_controls(samples, Controls(flags, (breaker,)), 1000.0)
    assert told(samples) == {
        ("media_paused_seconds", ("scope", "bucket:media")): 600,
        ("media_breaker_open", ("code", "ledger_denied")): 1,
    }


@pytest.fixture
def log():
    log = FakeEventLog(t=2)
    for _ in range(10):
        log.append("t", 0, b"k", b"v")
    return log


def lag(log, cursor):
    samples = Samples()
    add_event_log(samples, read_event_log(log, "t", 1), cursor)
    return {key[1][1]: value for key, value in told(samples).items()}


def test_lag_is_told_by_the_cursor_before_the_groups_offsets(log):
    assert lag(log, {}) == {"0": 10, "1": 0}
    log.commit("t", {0: 4, 1: 0})
    assert lag(log, {}) == {"0": 6, "1": 0}
    assert lag(log, {0: 7, 1: 0}) == {"0": 3, "1": 0}


def test_lag_is_what_is_left_where_retention_has_overtaken_the_group(log):
    log.commit("t", {0: 2, 1: 0})
    log.expire("t", 0, before=6)
    assert lag(log, {}) == {"0": 4, "1": 0}


def test_a_kafka_partition_that_did_not_answer_is_absent():
    figures = EventLogFigures("t", {1: 5}, {0: 0, 1: 2})
    assert figures.lag({}) == {1: 3}
