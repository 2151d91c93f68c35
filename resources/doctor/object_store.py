"""Rights in each bucket, proven by doing: a read everywhere, a put, get and delete of a probe."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from media_pipeline.errors import MediaPipelineError, PermanentError
from media_pipeline.settings import Settings
from resources.doctor.finding import Finding, failed, of_error, ok
from resources.object_store import S3ObjectStore

PROBE_PREFIX = "probe/"
_WRONG = "SignatureDoesNotMatch"
#: S3 code -> (our word, remedy). Expired sessions are unknown keys to some servers.
_MEANINGS = {
    "AccessDenied": ("denied_by_policy", "let the role's policy allow it on this bucket."),
    "InvalidAccessKeyId": (
        "keys_unknown",
        "they were rotated or revoked, or have expired.",
    ),
    "ExpiredToken": ("keys_expired", "see why they were not renewed: Vault login, STS."),
    "InvalidTokenId": ("keys_expired", "see why they were not renewed: Vault login, STS."),
    _WRONG: ("keys_wrong", "the secret key does not belong to the access key."),
    "RequestTimeTooSkewed": ("clock_skew", "mend the time service of this host."),
}


def check_buckets(settings: Settings, store: S3ObjectStore) -> list[Finding]:
    """One finding per bucket."""
    wanted = settings.object_store
    found = [_readable(store, bucket) for bucket in wanted.allowed_buckets]
    name = f"bucket {wanted.derived_bucket}"
    key = f"{PROBE_PREFIX}{uuid.uuid4().hex}"

    def ask() -> None:
        # First, because some servers make a missing bucket by a put.
        store.require_readable(wanted.derived_bucket, key)
        store.round_trip(key, b"probe")

    try:
        _surely(ask)
    except MediaPipelineError as error:
        return [*found, _meaning(name, error)]
    return [*found, ok(name, "put, get and delete below probe/ went through.")]


def _readable(store: S3ObjectStore, bucket: str) -> Finding:
    name = f"bucket {bucket}"
    try:
        _surely(lambda: store.require_readable(bucket, f"{PROBE_PREFIX}{uuid.uuid4().hex}"))
    except MediaPipelineError as error:
        return _meaning(name, error)
    return ok(name, "objects may be read.")


def _surely(ask: Callable[[], None]) -> None:
    """Ask again where keys are said to be wrong: wrong keys are wrong again.

    SeaweedFS 4.48 says so of one in a hundred requests that its policy denies (measured), and of
    none that it allows.
    """
    try:
        ask()
    except MediaPipelineError as error:
        if getattr(error.__cause__, "code", "") != _WRONG:
            raise
        ask()


def _meaning(name: str, error: MediaPipelineError) -> Finding:
    code = getattr(error.__cause__, "code", "")
    if code in _MEANINGS:
        word, remedy = _MEANINGS[code]
        return failed(name, error.message, word, remedy)
    if isinstance(error, PermanentError) or _is_no_store(error):
        remedy = "correct MEDIA_PIPELINE_OBJECT_STORE__ENDPOINT: what answers there is no S3."
        return failed(name, error.message, "object_store_wrong_endpoint", remedy)
    return of_error(name, error)


def _is_no_store(error: MediaPipelineError) -> bool:
    """Whoever answers in something else than XML, and not with trouble of a proxy's own."""
    said = str(error.__cause__)
    return "non-XML response" in said and "Response code: 5" not in said
