"""Secrets in log records: hidden from every handler, in messages and in tracebacks."""

import io
import logging

import pytest

from media_pipeline.settings import Settings
from media_pipeline.telemetry.log_redaction import redact_logs
from resources.credentials import credential_source

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJyb2xlIjoibWVkaWEifQ.c2lnbmF0dXJl"
PRESIGNED = "GET /media/x?X-Amz-Credential=ASIAX&X-Amz-Signature=0a1b2c3d HTTP/1.1"


@pytest.fixture
def logger():
    """(a logger, what its handler wrote)."""
    before = logging.getLogRecordFactory()
    redact_logs()
    logger, written = logging.getLogger("some.library"), io.StringIO()
    handler = logging.StreamHandler(written)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield logger, written
    logger.removeHandler(handler)
    logging.setLogRecordFactory(before)


@pytest.mark.parametrize(
    ("message", "args", "hidden"),
    [
        ("sent Authorization: Bearer %s", (TOKEN,), TOKEN),
        ("http://store %s", (PRESIGNED,), "0a1b2c3d"),
        ("config: {'sasl_plain_password': '%s'}", ("open-sesame",), "open-sesame"),
        ("X-Vault-Token: hvs.CAESIJ0123456789abcdefghij", (), "hvs.CAESIJ"),
        ("connecting to postgresql://media:letmein@db/media", (), "letmein"),
    ],
)
def test_a_secret_in_a_message(logger, message, args, hidden):
    log, written = logger
    log.debug(message, *args)
    assert hidden not in written.getvalue()
    assert "[hidden]" in written.getvalue()


def test_a_secret_in_a_traceback(logger):
    log, written = logger
    try:
        int(f"refused token={TOKEN}")
    except ValueError:
        log.exception("failed")
    assert TOKEN not in written.getvalue()
    assert "Traceback" in written.getvalue()
    assert "failed" in written.getvalue()


def test_a_secret_in_the_fields_of_a_structured_message(logger):
    log, written = logger
    log.info({"event": "connected", "token": TOKEN, "offset": 7})
    assert TOKEN not in written.getvalue()
    assert "'event': 'connected'" in written.getvalue()


def test_everything_else_stays_as_it_is(logger):
    log, written = logger
    log.info("%d media assets of run %s, key %s", 3, "r-1", "derived/text/ab12/t.txt")
    assert written.getvalue() == "3 media assets of run r-1, key derived/text/ab12/t.txt\n"


def test_it_is_there_as_soon_as_credentials_are(monkeypatch):
    before = logging.getLogRecordFactory()
    try:
        logging.setLogRecordFactory(logging.LogRecord)
        credential_source(Settings())
        assert logging.getLogRecordFactory().redacts
        first = logging.getLogRecordFactory()
        credential_source(Settings())
        assert logging.getLogRecordFactory() is first
    finally:
        logging.setLogRecordFactory(before)
