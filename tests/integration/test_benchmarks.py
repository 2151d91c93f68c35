"""The benchmarks run: what they measure may change, that they measure must not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
