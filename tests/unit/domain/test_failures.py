"""The whole policy as a table: what the outside world answers, and where that belongs."""

from datetime import UTC, datetime

import pytest

from media_pipeline.domain.failures import of_event_log, of_postgrest, of_s3, retry_after
from media_pipeline.errors import PermanentError, SystemicError, TransientError

LEDGER = [
    # PostgREST's own codes
    (503, "PGRST000", "transient", "ledger_busy"),
    (503, "PGRST001", "transient", "ledger_busy"),
    (503, "PGRST002", "transient", "ledger_busy"),
    (504, "PGRST003", "transient", "ledger_busy"),
    (406, "PGRST106", "systemic", "ledger_schema"),
    (404, "PGRST202", "systemic", "ledger_schema"),
    (400, "PGRST204", "systemic", "ledger_schema"),
    (404, "PGRST205", "systemic", "ledger_schema"),
    (500, "PGRST300", "systemic", "credentials_refused"),
    (401, "PGRST301", "systemic", "credentials_refused"),
    (401, "PGRST302", "systemic", "credentials_refused"),
    (401, "PGRST303", "systemic", "credentials_refused"),
    (400, "PGRST102", "permanent", "ledger_refused"),
    # SQLSTATE, whatever status it came with
    (503, "08006", "transient", "ledger_busy"),
    (500, "40001", "transient", "ledger_busy"),
    (500, "40P01", "transient", "ledger_busy"),
    (503, "53300", "transient", "ledger_busy"),
    (500, "55P03", "transient", "ledger_busy"),
    (500, "57014", "transient", "ledger_busy"),
    (500, "57P01", "transient", "ledger_busy"),
    (500, "58030", "transient", "ledger_busy"),
    (403, "42501", "systemic", "ledger_denied"),
    (401, "42501", "systemic", "ledger_denied"),
    (403, "28000", "systemic", "ledger_denied"),
    (404, "42P01", "systemic", "ledger_schema"),
    (404, "42883", "systemic", "ledger_schema"),
    (400, "42703", "systemic", "ledger_schema"),
    (400, "MPSUP", "systemic", "run_superseded"),
    (400, "22P05", "permanent", "ledger_refused"),
    (400, "23502", "permanent", "ledger_refused"),
    (409, "23505", "permanent", "ledger_refused"),
    (400, "23514", "permanent", "ledger_refused"),
    # no code: a proxy's answer
    (401, "", "systemic", "credentials_refused"),
    (408, "", "transient", "ledger_busy"),
    (425, "", "transient", "ledger_busy"),
    (429, "", "transient", "ledger_busy"),
    (500, "", "transient", "ledger_busy"),
    (502, "", "transient", "ledger_busy"),
    (503, "", "transient", "ledger_busy"),
    (504, "", "transient", "ledger_busy"),
    (400, "", "permanent", "ledger_refused"),
    (413, "", "permanent", "ledger_refused"),
    (500, "XX000", "transient", "ledger_busy"),
]
STORE = [
    (404, "NoSuchKey", "permanent", "object_missing"),
    (404, "NoSuchVersion", "permanent", "object_missing"),
    (404, "NoSuchBucket", "systemic", "bucket_missing"),
    (403, "AccessDenied", "systemic", "credentials_refused"),
    (403, "InvalidAccessKeyId", "systemic", "credentials_refused"),
    (403, "SignatureDoesNotMatch", "systemic", "credentials_refused"),
    (400, "ExpiredToken", "systemic", "credentials_refused"),
    (403, "RequestTimeTooSkewed", "systemic", "credentials_refused"),
    (503, "SlowDown", "transient", "object_store_unavailable"),
    (500, "InternalError", "transient", "object_store_unavailable"),
    (400, "RequestTimeout", "transient", "object_store_unavailable"),
    (507, "XMinioStorageFull", "systemic", "object_store_full"),
    (409, "QuotaExceeded", "systemic", "object_store_full"),
    (429, "TooMany", "transient", "object_store_unavailable"),
    (502, "", "transient", "object_store_unavailable"),
    (400, "AuthorizationHeaderMalformed", "systemic", "object_store_refused"),
]
LOG = [
    ("SaslAuthenticationFailedError", "systemic", "credentials_refused"),
    ("TopicAuthorizationFailedError", "systemic", "event_log_refused"),
    ("GroupAuthorizationFailedError", "systemic", "event_log_refused"),
    ("ClusterAuthorizationFailedError", "systemic", "event_log_refused"),
    ("UnknownTopicOrPartitionError", "systemic", "event_log_refused"),
    ("UnsupportedVersionError", "systemic", "event_log_refused"),
    ("MessageSizeTooLargeError", "systemic", "event_too_large"),
    ("NoBrokersAvailable", "transient", "event_log_unavailable"),
    ("KafkaTimeoutError", "transient", "event_log_unavailable"),
    ("NotLeaderForPartitionError", "transient", "event_log_unavailable"),
    ("NotEnoughReplicasError", "transient", "event_log_unavailable"),
    ("BrokenPipeError", "transient", "event_log_unavailable"),
]


@pytest.mark.parametrize(("status", "code", "home", "ours"), LEDGER)
def test_the_ledger(status, code, home, ours):
    found = of_postgrest(status, code)
    assert (found.home, found.code) == (home, ours)


@pytest.mark.parametrize(("status", "code", "home", "ours"), STORE)
def test_the_object_store(status, code, home, ours):
    found = of_s3(status, code)
    assert (found.home, found.code) == (home, ours)


@pytest.mark.parametrize(("error", "home", "ours"), LOG)
def test_the_event_log(error, home, ours):
    found = of_event_log(error)
    assert (found.home, found.code) == (home, ours)


def test_kafka_python_has_the_errors_that_are_named():
    """A class that was renamed would fall through to transient, and be tried for ever."""
    from kafka import errors

    from media_pipeline.domain import failures

    assert not [name for name in failures._LOG_ERRORS if not hasattr(errors, name)]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (of_s3(404, "NoSuchKey"), PermanentError),
        (of_s3(404, "NoSuchBucket"), SystemicError),
        (of_event_log("KafkaTimeoutError"), TransientError),
    ],
)
def test_each_home_has_its_error(failure, kind):
    error = failure.error("media/a.png is not there.")
    assert type(error) is kind
    assert str(error) == (f"[{failure.code}] media/a.png is not there. Remedy: {failure.remedy}")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0), (" 120 ", 120.0), ("0", 0.0), ("", 0.0), (None, 0.0), ("soon", 0.0),
        ("-3", 0.0), ("1.5", 0.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
    ],
)  # fmt: skip
def test_retry_after_in_either_form(value, seconds):
    assert retry_after(value, datetime(2026, 10, 21, 7, 28, tzinfo=UTC)) == seconds
