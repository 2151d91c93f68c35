"""Which home a failure of the outside world has: transient, permanent or systemic. Pure.

    transient   the same call may succeed later: tried again in process, then with the run
    permanent   this content fails for ever: a dead letter with its code
    systemic    nothing succeeds until somebody acts: the run stops, a breaker opens

Adapters ask here and add the names of what they did; the tables are the policy. What no table
knows is systemic where the other side refused and transient where it did not answer: a message
is rather tried again than buried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from media_pipeline.errors import (
    MediaPipelineError,
    PermanentError,
    SystemicError,
    TransientError,
)

Home = Literal["transient", "permanent", "systemic"]

_CLASSES: Mapping[Home, type[MediaPipelineError]] = {
    "transient": TransientError,
    "permanent": PermanentError,
    "systemic": SystemicError,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Where a failure belongs, under which code, and what an operator does about it."""

    home: Home
    code: str
    remedy: str

    def error(self, message: str) -> MediaPipelineError:
        """The error of the taxonomy that says so."""
        return _CLASSES[self.home](message, remedy=self.remedy, code=self.code)


# --- HTTP and PostgREST -------------------------------------------------------------------------

_UNAUTHORISED = 401
_SERVER_ERROR = 500
#: Statuses that pass, where the body says nothing more precise.
TRANSIENT_STATUSES = frozenset({408, 425, 429, 502, 503, 504})

_LEDGER_BUSY = Failure(
    "transient", "ledger_busy", "check the database's health; it is tried again."
)
_LEDGER_REFUSED = Failure(
    "permanent", "ledger_refused", "the ledger refused this content; report it with the log."
)
_LEDGER_TOKEN = Failure(
    "systemic",
    "credentials_refused",
    "check the token's expiry, the keys that PostgREST knows and the clocks"
    " (deploy/runbooks/ledger-writes.md).",
)
_LEDGER_DENIED = Failure(
    "systemic",
    "ledger_denied",
    "the token's role may not do this: check the role claim, GRANTs and RLS.",
)
_LEDGER_SCHEMA = Failure(
    "systemic",
    "ledger_schema",
    "apply deploy/postgres/migrations, then NOTIFY pgrst, 'reload schema'.",
)
_SUPERSEDED = Failure(
    "systemic",
    "run_superseded",
    "nothing: the retry of this run does its work, and this one may end.",
)

#: PostgREST's own codes and SQLSTATEs that mean one thing alone.
_LEDGER_CODES: Mapping[str, Failure] = {
    **dict.fromkeys(("PGRST300", "PGRST301", "PGRST302", "PGRST303"), _LEDGER_TOKEN),
    **dict.fromkeys(("42501", "28000", "28P01"), _LEDGER_DENIED),
    **dict.fromkeys(
        ("42P01", "42883", "42703", "3F000", "PGRST106", "PGRST202", "PGRST204", "PGRST205"),
        _LEDGER_SCHEMA,
    ),
    # Raised by `claim_batch`: deploy/postgres/migrations/0070_zombies.sql.
    "MPSUP": _SUPERSEDED,
}
#: SQLSTATE classes that pass: connection, transaction rollback, resources, locks, intervention,
#: system error.
_TRANSIENT_CLASSES = frozenset({"08", "40", "53", "55", "57", "58"})


def of_postgrest(status: int, code: str) -> Failure:
    """By `code` of the answer's body (PostgREST's own or a SQLSTATE), by `status` without one."""
    if code in _LEDGER_CODES:
        return _LEDGER_CODES[code]
    # PGRST000 to 003: PostgREST cannot reach its database, or waits for a connection.
    if code.startswith("PGRST00") or code[:2] in _TRANSIENT_CLASSES:
        return _LEDGER_BUSY
    if not code and status == _UNAUTHORISED:
        return _LEDGER_TOKEN
    if status >= _SERVER_ERROR or (not code and status in TRANSIENT_STATUSES):
        return _LEDGER_BUSY
    return _LEDGER_REFUSED


# --- S3 -----------------------------------------------------------------------------------------

_OBJECT_MISSING = Failure("permanent", "object_missing", "upload it again and announce it again.")
_BUCKET_MISSING = Failure(
    "systemic", "bucket_missing", "create it, or correct the bucket names in the settings."
)
_KEYS_REFUSED = Failure(
    "systemic",
    "credentials_refused",
    "check the keys or the STS role, their policy and this host's clock"
    " (deploy/runbooks/object-store-access.md).",
)
_STORE_BUSY = Failure(
    "transient", "object_store_unavailable", "check the object store's load; it is tried again."
)
_STORE_FULL = Failure(
    "systemic", "object_store_full", "the store takes nothing more: free or add space, or raise"
    " the quota.",
)  # fmt: skip
_STORE_REFUSED = Failure(
    "systemic",
    "object_store_refused",
    "the store does not understand a request of ours; check endpoint and region.",
)
_STORE_CODES: Mapping[str, Failure] = {
    **dict.fromkeys(
        ("NoSuchKey", "NoSuchVersion", "NoSuchObject", "ResourceNotFound"), _OBJECT_MISSING
    ),
    "NoSuchBucket": _BUCKET_MISSING,
    **dict.fromkeys(
        (
            "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken",
            "InvalidTokenId", "InvalidToken", "RequestTimeTooSkewed", "AllAccessDisabled",
        ),
        _KEYS_REFUSED,
    ),
    **dict.fromkeys(
        (
            "SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "InternalError",
            "RequestTimeout", "XMinioServerNotInitialized", "OperationAborted",
        ),
        _STORE_BUSY,
    ),
    **dict.fromkeys(
        ("XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"), _STORE_FULL
    ),
}  # fmt: skip


def of_s3(status: int, code: str) -> Failure:
    """By S3 error code, by `status` where the code is a stranger."""
    if code in _STORE_CODES:
        return _STORE_CODES[code]
    if status >= _SERVER_ERROR or status in TRANSIENT_STATUSES:
        return _STORE_BUSY
    return _STORE_REFUSED


# --- Kafka --------------------------------------------------------------------------------------

_LOGIN_REFUSED = Failure(
    "systemic",
    "credentials_refused",
    "check user name and kafka_password or kafka_token, and the broker's users.",
)
_LOG_REFUSED = Failure(
    "systemic", "event_log_refused", "check the topic's existence, ACLs and the SASL credentials."
)
_EVENT_TOO_LARGE = Failure(
    "systemic", "event_too_large", "raise the topic's max.message.bytes: the outbox waits for it."
)
_LOG_BUSY = Failure(
    "transient",
    "event_log_unavailable",
    "check that the brokers are up and reachable; it is tried again.",
)
#: Names of kafka-python's error classes.
_LOG_ERRORS: Mapping[str, Failure] = {
    **dict.fromkeys(("SaslAuthenticationFailedError", "IllegalSaslStateError"), _LOGIN_REFUSED),
    **dict.fromkeys(
        (
            "TopicAuthorizationFailedError", "GroupAuthorizationFailedError",
            "ClusterAuthorizationFailedError", "TransactionalIdAuthorizationFailedError",
            "UnknownTopicOrPartitionError", "InvalidTopicError", "UnsupportedVersionError",
            "UnsupportedSaslMechanismError",
        ),
        _LOG_REFUSED,
    ),
    **dict.fromkeys(("MessageSizeTooLargeError", "RecordListTooLargeError"), _EVENT_TOO_LARGE),
}  # fmt: skip


def of_event_log(error: str) -> Failure:
    """By the name of kafka-python's error class; what is not listed passes."""
    return _LOG_ERRORS.get(error, _LOG_BUSY)


# --- waiting ------------------------------------------------------------------------------------


def retry_after(value: str | None, now: datetime | None = None) -> float:
    """Seconds of a Retry-After header, in either of its forms; 0 where it says nothing."""
    text = (value or "").strip()
    if text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
