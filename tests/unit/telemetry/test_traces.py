"""Traces as a collector receives them: the real exporter against an OTLP endpoint played here."""

import subprocess
import sys

import pytest

from media_pipeline.settings import TelemetrySettings
from media_pipeline.telemetry import spans
from media_pipeline.telemetry.spans import Span
from media_pipeline.telemetry.traces import kept, trace_id_of, tracing
from tests.otlp_collector import attributes, by_trace, running_collector

PRODUCER = "00-" + "a1" * 16 + "-" + "b2" * 8 + "-01"


@pytest.fixture
def collector():
    with running_collector() as running:
        yield running


def settings_for(collector, **more):
    address = f"http://127.0.0.1:{collector.server_port}"
    return TelemetrySettings(otlp_endpoint=address, **{"trace_sample_ratio": 1.0, **more})


def work(asset_id, failure=""):
    """What a run notes of one media asset."""
    whose = (asset_id, "sha256:1")
    spans.note("queue wait", *whose, started=100.0, ended=103.0)
    spans.note("claim", *whose, started=103.0, ended=103.1, producer=PRODUCER, step="text")
    spans.note("download", *whose, started=103.1, ended=104.0)
    spans.note("text", *whose, started=104.0, ended=106.5, failure=failure, input_bytes=9)
    spans.note("upload text", *whose, started=106.5, ended=107.0)
    spans.note("record", *whose, started=107.0, ended=107.2)
    spans.note("media asset", *whose, started=107.0, ended=107.2, failure=failure, whole=True)


def test_one_trace_per_media_asset_with_all_its_steps_below_the_attempt(collector):
    with tracing(settings_for(collector), "run-1"):
        work("a")
        work("b", failure="invalid")
    traces = by_trace(collector.spans)
    assert len(traces) == 3, "two media assets and the run"
    tree = traces[f"{trace_id_of('a', 'sha256:1'):032x}"]
    whole = tree.pop("media asset")
    assert set(tree) == {"queue wait", "claim", "download", "text", "upload text", "record"}
    assert {span.parent_span_id for span in tree.values()} == {whole.span_id}
    assert whole.parent_span_id == b""
    assert (whole.start_time_unix_nano, whole.end_time_unix_nano) == (100 * 10**9, 107_200_000_000)
    (link,) = whole.links
    assert (link.trace_id.hex(), link.span_id.hex()) == ("a1" * 16, "b2" * 8)
    assert attributes(whole)["media.asset_id"] == "a"
    failed = traces[f"{trace_id_of('b', 'sha256:1'):032x}"]
    assert failed["text"].status.code == failed["media asset"].status.code == 2
    assert attributes(failed["text"])["error.code"] == "invalid"


def test_the_run_links_to_its_media_assets(collector):
    with tracing(settings_for(collector), "run-1"):
        work("a")
        work("b", failure="invalid")
    (run,) = [span for span in collector.spans if span.name == "batch run"]
    wholes = {span.span_id for span in collector.spans if span.name == "media asset"}
    assert {link.span_id for link in run.links} == wholes
    assert attributes(run)["media.assets_failed"] == 1
    assert run.start_time_unix_nano == 103 * 10**9, "waiting is not the run's time"


def test_the_relay_writes_into_the_same_trace(collector):
    with tracing(settings_for(collector), "run-1"):
        work("a")
    with tracing(settings_for(collector), ""):
        spans.note("publish", "a", "sha256:1", started=1.0, ended=2.0, run_id="run-1")
    tree = by_trace(collector.spans)[f"{trace_id_of('a', 'sha256:1'):032x}"]
    assert tree["publish"].parent_span_id == tree["media asset"].span_id
    assert sum(span.name == "batch run" for span in collector.spans) == 1


def test_failures_are_kept_whatever_the_ratio(collector):
    with tracing(settings_for(collector, trace_sample_ratio=0.0), "run-1"):
        for number in range(50):
            work(f"fine-{number}")
        work("broken", failure="timeout")
    assert {attributes(s).get("media.asset_id") for s in collector.spans} == {"broken", None}
    (run,) = [span for span in collector.spans if span.name == "batch run"]
    assert attributes(run)["media.assets"] == 51


def test_the_share_is_the_same_media_assets_in_every_process():
    def asked(name):
        return [Span(name, f"a-{n}", "v", "r", 1.0, 2.0) for n in range(2000)]

    first = {span.asset_id for span in kept(asked("download"), 0.25)}
    assert first == {span.asset_id for span in kept(asked("record"), 0.25)}
    assert 400 < len(first) < 600


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-" + "0" * 32 + "-" + "b2" * 8 + "-01"])
def test_a_producer_that_traces_nothing_is_not_linked(collector, traceparent):
    with tracing(settings_for(collector), "run-1"):
        whose = ("a", "v")
        spans.note("claim", *whose, started=1.0, producer=traceparent)
        spans.note("media asset", *whose, started=1.0, whole=True)
    (whole,) = [span for span in collector.spans if span.name == "media asset"]
    assert not whole.links


def test_the_token_goes_along(collector):
    with tracing(settings_for(collector, otlp_token="secret"), "r"):
        work("a")
    assert collector.asked == [("/v1/traces", "Bearer secret")]


def test_spans_are_sent_when_the_run_fails(collector):
    def fail():
        with tracing(settings_for(collector), "r"):
            work("a")
            raise RuntimeError("step failed")

    with pytest.raises(RuntimeError):
        fail()
    assert len(collector.spans) == 8


def test_a_collector_that_refuses_harms_nobody(collector, caplog):
    collector.status = 400
    with tracing(settings_for(collector), "r"):
        work("a")
    assert "spans were not sent" in caplog.text


def test_no_redirect_is_followed(collector, caplog):
    collector.status, collector.location = 307, f"http://127.0.0.1:{collector.server_port}/other"
    with tracing(settings_for(collector, otlp_token="secret"), "r"):
        work("a")
    assert "spans were not sent" in caplog.text
    assert {path for path, _ in collector.asked} == {"/v1/traces"}


def test_nobody_is_asked_without_an_endpoint():
    with tracing(TelemetrySettings(), "r") as recorder:
        work("a")
    assert recorder is None


def test_importing_costs_no_opentelemetry():
    script = (
        "import sys, media_pipeline.telemetry.traces as t;"
        "from media_pipeline.settings import TelemetrySettings as S\n"
        "with t.tracing(S(), 'r'): pass\n"
        "print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
