"""Logs for machines and for people."""

import io
import json
import logging

import pytest
import structlog

from media_pipeline.telemetry.log_redaction import redact_logs
from media_pipeline.telemetry.logs import configure_logs


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def as_before():
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = before, level
    structlog.reset_defaults()


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_each_line_is_one_json_object_with_its_fields():
    stream = io.StringIO()
    configure_logs(stream)
    structlog.get_logger("relay").info("relayed", asset_id="a", run_id="r", offset=7)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "relayed", "level": "info", "logger": "relay", "asset_id": "a", "run_id": "r",
        "offset": 7,
    }  # fmt: skip


def test_the_standard_librarys_logs_look_the_same():
    stream = io.StringIO()
    configure_logs(stream)
    with structlog.contextvars.bound_contextvars(trace_id="t"):
        logging.getLogger("sources").warning("%s does not answer", "ledger")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["trace_id"]) == (
        "ledger does not answer", "warning", "t",
    )  # fmt: skip


def test_an_exception_stays_on_its_line():
    stream = io.StringIO()
    configure_logs(stream)
    try:
        json.loads("{\n")
    except ValueError:
        logging.getLogger("x").exception("failed")
    (line,) = lines(stream)
    assert "JSONDecodeError" in line["exception"]


def test_no_field_and_no_traceback_carries_a_secret():
    stream = io.StringIO()
    configure_logs(stream)
    address = "postgresql://media:hunter2@127.0.0.1/media"
    structlog.get_logger("x").info("connected", address=address)
    try:
        int(address)
    except ValueError:
        logging.getLogger("x").exception("failed")
        structlog.get_logger("x").exception("failed")
    assert len(lines(stream)) == 3
    assert "hunter2" not in stream.getvalue()


def test_lines_stay_whole_where_records_are_redacted_before(monkeypatch):
    monkeypatch.setattr(logging, "_logRecordFactory", logging.LogRecord)
    redact_logs()
    stream = io.StringIO()
    configure_logs(stream)
    structlog.get_logger("x").info("connected", address="postgresql://media:hunter2@db/media")
    (line,) = lines(stream)
    assert line["event"] == "connected"
    assert "hunter2" not in line["address"]


def test_a_person_reads_words():
    stream = Terminal()
    configure_logs(stream)
    structlog.get_logger("relay").info("relayed", events=3)
    said = stream.getvalue()
    assert "relayed" in said
    assert not said.startswith("{")
