"""What a run says of each media asset, for machines."""

import io
import json

from media_pipeline.domain.outcome import Code, Derivative, Verdict
from media_pipeline.domain.ports import AssetResult, Recorded
from media_pipeline.telemetry.outcome_log import tell_outcomes
from media_pipeline.telemetry.traces import trace_id_of


def result(name: str, decided: Verdict, code: Code = Code.OK) -> AssetResult:
    row = Derivative(name, "v1", 1, "text", "text-1", "d", 10, code, "why", (), {}, 0.25)
    return AssetResult(name, "v1", 1, decided, None, 10, (row,))


def told(*results: AssetResult, refused: tuple[str, ...] = ()) -> list[dict]:
    stream = io.StringIO()
    recorded = [
        Recorded(one.asset_id, "v1", one.asset_id not in refused, "stale_fence") for one in results
    ]
    tell_outcomes(results, recorded, "run-1", {"media/lane": "live"}, stream)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_line_for_each_media_asset_with_what_one_searches_by():
    (line,) = told(result("a", Verdict("complete")))
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "media asset ended", "level": "info", "logger": "media_pipeline.outcomes",
        "asset_id": "a", "content_version": "v1", "run_id": "run-1", "lane": "live",
        "trace_id": f"{trace_id_of('a', 'v1'):032x}", "status": "complete",
        "codes": {"text": "ok"}, "seconds": 0.25,
    }  # fmt: skip


def test_a_failure_is_a_warning_with_its_reason_and_no_secret():
    failed = Verdict("dead_lettered", "text", Code.INVALID, "token=hunter2-secret is no PDF")
    (line,) = told(result("a", failed, Code.INVALID))
    assert (line["level"], line["stage"], line["code"]) == ("warning", "text", "invalid")
    assert "no PDF" in line["message"]
    assert "hunter2" not in line["message"]


def test_what_the_ledger_refused_is_said_to_be():
    first, second = told(
        result("a", Verdict("complete")), result("b", Verdict("complete")), refused=("b",)
    )
    assert (first["event"], second["event"]) == ("media asset ended", "media asset refused")
    assert (second["level"], second["refused"]) == ("warning", "stale_fence")
