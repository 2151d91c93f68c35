"""Traces of real runs: messages in, spans at a collector out."""

import json
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from media_pipeline.cli.producer import Upload, announce, upload
from media_pipeline.cli.world import World
from media_pipeline.telemetry.traces import trace_id_of
from tests.otlp_collector import attributes, by_trace, running_collector

ROOT = Path(__file__).resolve().parents[2]
PRODUCER = "00-" + "c3" * 16 + "-" + "d4" * 8 + "-01"


@pytest.fixture(scope="module")
def traced(stack, tmp_path_factory):
    """{name of the file: spans by name} of two media assets that went through one process."""
    world, marker = World(stack.settings()), uuid.uuid4().hex[:8]
    files = {"fine": b"A line of text.\n", "broken": b"%PDF-1.7 cut off"}
    assets = {}
    for name, data in files.items():
        kind = "application/pdf" if name == "broken" else "text/plain"
        asset = upload(world, f"traced-{name}-{marker}", name, data, kind).asset
        assets[name] = replace(asset, traceparent=PRODUCER)
    announce(world, [Upload(asset) for asset in assets.values()])
    with running_collector() as collector:
        environment = {
            **stack.environment(),
            "MEDIA_PIPELINE_WORKLOADS": '["text"]',
            "MEDIA_PIPELINE_PROCESSING__WORKERS": "1",
            "MEDIA_PIPELINE_TELEMETRY__OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "MEDIA_PIPELINE_TELEMETRY__TRACE_SAMPLE_RATIO": "1",
        }
        asked = {"environment": environment, "home": str(tmp_path_factory.mktemp("home"))}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.faults.one_process"],
            cwd=ROOT, input=json.dumps(asked) + "\n", capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == "0\n", done.stderr[-3000:]
    traces = by_trace(collector.spans)
    found = {
        name: traces[f"{trace_id_of(asset.asset_id, asset.content_version):032x}"]
        for name, asset in assets.items()
    }
    runs = [span for span in collector.spans if span.name == "batch run"]
    return found, runs


STEPS = {"queue wait", "claim", "download", "text", "record", "publish", "media asset"}


def test_every_step_of_a_media_asset_is_in_its_trace(traced):
    found, _ = traced
    assert set(found["fine"]) == STEPS | {"upload text"}
    assert set(found["broken"]) == STEPS
    for spans in found.values():
        whole = spans["media asset"]
        assert {one.parent_span_id for n, one in spans.items() if n != "media asset"} == {
            whole.span_id
        }
        (link,) = whole.links
        assert link.trace_id.hex() == "c3" * 16


def test_steps_follow_each_other_inside_the_attempt(traced):
    spans = traced[0]["fine"]
    order = ["queue wait", "download", "text", "upload text", "record", "publish"]
    starts = [spans[name].start_time_unix_nano for name in order]
    assert starts == sorted(starts)
    whole = spans["media asset"]
    assert whole.start_time_unix_nano == spans["queue wait"].start_time_unix_nano
    assert whole.end_time_unix_nano >= spans["record"].start_time_unix_nano


def test_a_failure_is_told_where_it_happened_and_on_the_whole(traced):
    spans = traced[0]["broken"]
    assert attributes(spans["text"])["error.code"] == "invalid"
    assert attributes(spans["media asset"])["error.code"] == "invalid"
    assert attributes(spans["publish"])["topic"] == "media.processing.dlq"
    assert attributes(traced[0]["fine"]["media asset"])["status"] == "complete"


def test_a_run_links_to_the_media_assets_that_it_worked_on(traced):
    found, runs = traced
    wholes = {spans["media asset"].span_id for spans in found.values()}
    assert wholes <= {link.span_id for run in runs for link in run.links}
