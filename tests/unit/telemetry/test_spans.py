"""Gathering spans."""

import threading

import pytest

from media_pipeline.errors import TransientError
from media_pipeline.telemetry import spans


def test_nothing_is_gathered_where_nobody_records():
    spans.note("claim", "a", "v", started=1.0)
    with spans.recording("r") as recorder:
        pass
    spans.note("claim", "a", "v", started=1.0)
    assert recorder.drain() == []


def test_spans_of_all_threads_and_their_run():
    with spans.recording("run-1") as recorder:
        threads = [
            threading.Thread(target=spans.note, args=("x", str(n), "v"), kwargs={"started": 1.0})
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = recorder.drain()
    assert {span.asset_id for span in found} == {str(n) for n in range(8)}
    assert {span.run_id for span in found} == {"run-1"}
    assert recorder.drain() == []


def test_an_error_of_ours_is_the_spans_failure_and_passes():
    with spans.recording("r") as recorder:
        with pytest.raises(TransientError), spans.timed("download", "a", "v"):
            raise TransientError("away", remedy="wait", code="object_store_unavailable")
        with spans.timed("download", "b", "v"):
            pass
        first, second = recorder.drain()
    assert (first.failure, second.failure) == ("object_store_unavailable", "")
    assert first.ended >= first.started > 0


def test_a_start_that_lies_in_the_future_makes_no_negative_span():
    with spans.recording("r") as recorder:
        spans.note("queue wait", "a", "v", started=2e12, ended=100.0)
        (span,) = recorder.drain()
    assert (span.started, span.ended) == (100.0, 100.0)


@pytest.mark.parametrize(
    ("instant", "seconds"),
    [
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T01:00:00.500+01:00", 0.5),
        ("1970-01-01T00:01:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_instants_of_producers(instant, seconds):
    assert spans.epoch_of(instant) == seconds
