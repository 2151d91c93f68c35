"""The benchmarks run: what they measure may change, that they measure must not."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from media_pipeline.settings import Settings
from tests.fakes.event_log import FakeEventLog
from tests.fakes.metadata_store import FakeMetadataStore

ROOT = Path(__file__).parents[2]


def test_every_processor_is_measured_against_its_rivals(tmp_path):
    report = tmp_path / "processors.json"

    done = subprocess.run(
        [sys.executable, "benchmarks/processors.py", "--quick", "--json", str(report)],
        cwd=ROOT, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-2000:]
    found = {one["workload"]: one for one in json.loads(report.read_text())["results"]}
    assert set(found) == {"text", "thumbnails", "ocr", "moderation"}
    for one in found.values():
        assert len(one["medians"]) == 3, "ours and two rivals"
        assert all(rate > 0 for rate in one["medians"].values())
        assert one["peak_mib_of_a_worker"] > 0


def test_scaling_by_seconds_of_work_sees_long_media_coming(tmp_path):
    done = subprocess.run(
        [sys.executable, "benchmarks/scaling.py", "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "scaling.json").read_text())
    for trace, policies in found.items():
        for policy, one in policies.items():
            assert one["done"] <= one["arrived"], (trace, policy)
            assert 0 <= one["idle_share"] < 1, (trace, policy)
            assert one["done"] > 0.9 * one["arrived"], (trace, policy)
        ours, ceiling = policies["backlog seconds"], policies["fixed, ceiling"]
        assert ours["slot_hours"] < ceiling["slot_hours"], trace
        assert max(ours["slots"]) <= max(ceiling["slots"]), trace
    long = found["long media"]
    assert long["backlog seconds"]["late_share"] < long["lag threshold"]["late_share"]
    assert (tmp_path / "scaling.svg").read_text().count("<polyline") == 3 * sum(
        len(policies) for policies in found.values()
    )


def test_the_ticks_that_are_measured_are_called_as_they_are_defined():
    """Measuring takes minutes; that it could begin takes none."""
    spec = importlib.util.spec_from_file_location("tick_cost", ROOT / "benchmarks/tick_cost.py")
    tick_cost = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tick_cost)

    class Bench:
        settings = Settings()
        topic = FakeEventLog()
        operations = None
        world = SimpleNamespace(metadata_store=FakeMetadataStore(), recovery_store=None)

        def send(self, ids):
            assert ids

        def tick(self, name, evaluate, *given):
            inspect.signature(evaluate).bind("context", *given)
            return 1.0

    found = {name: tick() for name, tick in tick_cost.cases(Bench())}
    assert len(found) == 7
    assert all(found.values())
