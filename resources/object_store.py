"""The object store (S3 core API): uploads are read and verified, derived media are written."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import itertools
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from media_pipeline.domain.failures import of_s3, retry_after
from media_pipeline.domain.media_asset import SourceObject
from media_pipeline.domain.ports import CredentialSource, FetchedObject
from media_pipeline.domain.reconciliation import StoredObject
from media_pipeline.errors import PermanentError, SystemicError, TransientError
from media_pipeline.settings import ObjectStoreSettings
from media_pipeline.telemetry.phases import phase
from resources.retries import RetryLaterError, with_retries

Answer = TypeVar("Answer")

_CHUNK = 256 * 1024


class _KeysRefusedError(SystemicError):
    """Worth one more try with fresh keys."""


class S3ObjectStore:
    """`ObjectStore` on minio-py; safe to use from many threads."""

    def __init__(self, settings: ObjectStoreSettings, credentials: CredentialSource) -> None:
        self._settings = settings
        self._credentials = credentials
        self._client: Any = None
        self._lock = threading.Lock()
        self._used = threading.local()  # the access key of this thread's newest request

    def fetch(self, source: SourceObject, into: Path, *, max_bytes: int) -> FetchedObject:
        """See `ObjectStore.fetch`."""
        self._require_allowed(source.bucket)
        with phase("download"):
            return self._tried(lambda: self._fetch(source, into, max_bytes))

    def put(self, object_key: str, data: bytes, content_type: str) -> None:
        """See `ObjectStore.put`."""
        self._put(self._settings.derived_bucket, object_key, data, content_type)

    def upload(self, bucket: str, object_key: str, data: bytes, content_type: str | None) -> None:
        """See `ObjectStore.upload`."""
        self._require_allowed(bucket)
        self._put(bucket, object_key, data, content_type or "application/octet-stream")

    def get(self, object_key: str) -> bytes:
        """See `ObjectStore.get`."""

        def read() -> bytes:
            with self._taxonomy(f"{self._settings.derived_bucket}/{object_key}"):
                answer = self._connected().get_object(
                    bucket_name=self._settings.derived_bucket, object_name=object_key
                )
                with _released(answer):
                    return bytes(answer.read())

        return self._tried(read)

    def list_keys(self, prefix: str) -> list[str]:
        """See `ObjectStore.list_keys`."""

        def read() -> list[str]:
            with self._taxonomy(f"{self._settings.derived_bucket}/{prefix}*"):
                found = self._connected().list_objects(
                    bucket_name=self._settings.derived_bucket, prefix=prefix, recursive=True
                )
                return sorted(str(one.object_name) for one in found)

        return self._tried(read)

    def list_objects(self, prefix: str, after: str | None, limit: int) -> list[StoredObject]:
        """See `StoredObjects.list_objects`."""

        def read() -> list[StoredObject]:
            with self._taxonomy(f"{self._settings.derived_bucket}/{prefix}*"):
                found = self._connected().list_objects(
                    bucket_name=self._settings.derived_bucket, prefix=prefix, recursive=True,
                    start_after=after,
                )  # fmt: skip
                return [
                    StoredObject(str(one.object_name), one.last_modified.timestamp())
                    for one in itertools.islice(found, limit)
                ]

        return self._tried(read)

    def present(self, object_keys: Sequence[str]) -> set[str]:
        """See `StoredObjects.present`; as many requests at a time as a run's transfers."""
        with ThreadPoolExecutor(self._settings.transfer_threads, "present") as threads:
            found = threads.map(self._exists, object_keys)
            return {key for key, there in zip(object_keys, found, strict=True) if there}

    def _exists(self, object_key: str) -> bool:
        def ask() -> bool:
            with self._taxonomy(f"{self._settings.derived_bucket}/{object_key}"):
                self._connected().stat_object(
                    bucket_name=self._settings.derived_bucket, object_name=object_key
                )
            return True

        try:
            return self._tried(ask)
        except PermanentError:  # object_missing: the one permanent error of a question
            return False

    def link(self, object_key: str) -> str:
        """See `ObjectStore.link`."""
        scheme = "https" if self._settings.secure else "http"
        base = self._settings.public_url or f"{scheme}://{self._settings.endpoint}"
        path = urllib.parse.quote(f"{self._settings.derived_bucket}/{object_key}")
        return f"{base.rstrip('/')}/{path}"

    def probe(self) -> None:
        """See `ObjectStore.probe`."""
        for bucket in (*self._settings.allowed_buckets, self._settings.derived_bucket):
            self._tried(functools.partial(self._require_bucket, bucket))

    def require_readable(self, bucket: str, absent_key: str) -> None:
        """SystemicError unless this bucket's objects may be read: asks for one that is not there,
        which a store admits only to those who may read."""
        try:
            self._tried(functools.partial(self._stat, bucket, absent_key))
        except PermanentError as error:
            if error.code != "object_missing":
                raise

    def round_trip(self, object_key: str, data: bytes) -> None:
        """Put, get and delete one object of the derived bucket; SystemicError where that fails."""
        bucket = self._settings.derived_bucket
        self.put(object_key, data, "application/octet-stream")
        if self.get(object_key) != data:
            raise SystemicError(
                f"{bucket}/{object_key} did not come back as it was put.",
                remedy="check the object store's storage.",
                code="object_store_corrupt",
            )

        def remove() -> None:
            with self._taxonomy(f"{bucket}/{object_key}"):
                self._connected().remove_object(bucket_name=bucket, object_name=object_key)

        self._tried(remove)

    def _stat(self, bucket: str, object_key: str) -> None:
        with self._taxonomy(f"{bucket}/{object_key}"):
            answer = self._connected().get_object(bucket_name=bucket, object_name=object_key)
            with _released(answer):
                answer.read(1)

    def _require_bucket(self, bucket: str) -> None:
        with self._taxonomy(bucket):
            if not self._connected().bucket_exists(bucket_name=bucket):
                raise _bucket_missing(bucket)

    def _tried(self, call: Callable[[], Answer]) -> Answer:
        """Retries of the transient, and once more with fresh keys after a refusal."""

        def once_more() -> Answer:
            try:
                return call()
            except _KeysRefusedError:
                self._credentials.refused("object_store_access_key", self._used.access_key)
                return call()

        return with_retries(once_more)

    def _put(self, bucket: str, object_key: str, data: bytes, content_type: str) -> None:
        def write() -> None:
            with self._taxonomy(f"{bucket}/{object_key}"):
                self._connected().put_object(
                    bucket_name=bucket,
                    object_name=object_key,
                    data=io.BytesIO(data),
                    length=len(data),
                    content_type=content_type,
                )

        self._tried(write)

    def _fetch(self, source: SourceObject, into: Path, max_bytes: int) -> FetchedObject:
        name = f"{source.bucket}/{source.object_key}"
        partial = into.with_name(f"{into.name}.part")
        try:
            with self._taxonomy(name):
                answer = self._connected().get_object(
                    bucket_name=source.bucket,
                    object_name=source.object_key,
                    version_id=source.version_id,
                )
                with _released(answer):
                    announced = int(answer.headers.get("Content-Length") or 0)
                    if announced > max_bytes:
                        raise _too_large(name, announced, max_bytes)
                    digest, size = _copy(answer, partial, name, max_bytes)
                    if announced and size != announced:
                        raise TransientError(
                            f"{name} ended after {size} of {announced} bytes.",
                            remedy="it is tried again; look at the network if it repeats.",
                            code="object_cut_off",
                        )
                    etag = (answer.headers.get("ETag") or "").strip('"') or None
                    content_type = answer.headers.get("Content-Type")
            fetched = FetchedObject(into, digest, size, etag, content_type)
            _require_as_announced(source, fetched)
            partial.replace(into)
        finally:
            partial.unlink(missing_ok=True)
        return fetched

    def _require_allowed(self, bucket: str) -> None:
        if bucket not in self._settings.allowed_buckets:
            raise PermanentError(
                f"bucket {bucket!r} is not on the allow list.",
                remedy="add it to MEDIA_PIPELINE_OBJECT_STORE__ALLOWED_BUCKETS if it is ours.",
                code="bucket_not_allowed",
            )

    def _connected(self) -> Any:
        import urllib3  # kept out of definitions' import
        from minio import Minio
        from minio.credentials.credentials import Credentials
        from minio.credentials.providers import Provider

        source, used = self._credentials, self._used

        class Current(Provider):
            """Asks at every request, so that a rotation needs no restart."""

            def retrieve(self) -> Any:
                keys = source.object_store_keys()
                used.access_key = keys.access_key
                return Credentials(
                    access_key=keys.access_key,
                    secret_key=keys.secret_key,
                    session_token=keys.session_token,
                )

        with self._lock:
            if self._client is None:
                # minio-py's own pool waits 300 s and retries five times by itself.
                timeout = urllib3.Timeout(
                    connect=self._settings.connect_timeout_seconds,
                    read=self._settings.read_timeout_seconds,
                )
                pool = urllib3.PoolManager(
                    timeout=timeout, retries=False, maxsize=2 * self._settings.transfer_threads
                )
                self._client = Minio(
                    endpoint=self._settings.endpoint,
                    secure=self._settings.secure,
                    region=self._settings.region,
                    credentials=Current(),
                    http_client=pool,
                )
            return self._client

    @contextlib.contextmanager
    def _taxonomy(self, name: str) -> Iterator[None]:
        """minio-py's and urllib3's errors to ours; the S3 code decides before the status."""
        import urllib3
        from minio.error import MinioException, S3Error

        try:
            yield
        except S3Error as error:
            raise self._of_s3(error, name) from error
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise TransientError(
                f"{name} at {self._settings.endpoint}: {type(error).__name__} {error}.",
                remedy="check the object store's health; it is tried again.",
                code="object_store_unavailable",
            ) from error

    def _of_s3(self, error: Any, name: str) -> Exception:
        failure = of_s3(getattr(error.response, "status", 0), error.code)
        if failure.code == "bucket_missing":
            return _bucket_missing(name.split("/", maxsplit=1)[0])
        what = f"{name}: {error.code} {error.message or ''}".rstrip()
        if failure.code == "credentials_refused":
            return _KeysRefusedError(what, remedy=failure.remedy, code=failure.code)
        if failure.home == "transient":
            later = RetryLaterError(what, remedy=failure.remedy, code=failure.code)
            headers = getattr(error.response, "headers", None) or {}
            later.after_seconds = retry_after(headers.get("Retry-After"))
            return later
        return failure.error(what)


@contextlib.contextmanager
def _released(answer: Any) -> Iterator[None]:
    """minio-py leaks the connection unless both are called."""
    try:
        yield
    finally:
        answer.close()
        answer.release_conn()


def _copy(answer: Any, into: Path, name: str, max_bytes: int) -> tuple[str, int]:
    """Stream to a file, counting and hashing; never keeps more than the limit."""
    digest, size = hashlib.sha256(), 0
    with into.open("wb") as file:
        for chunk in answer.stream(_CHUNK):
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(name, size, max_bytes)
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest(), size


def _require_as_announced(source: SourceObject, found: FetchedObject) -> None:
    name = f"{source.bucket}/{source.object_key}"
    for what, claimed, actual in (
        ("sha256", source.sha256, found.digest),
        ("etag", source.etag, found.etag),
        ("size", source.size_bytes, found.size_bytes),
    ):
        if claimed is not None and claimed != actual:
            raise PermanentError(
                f"{name} is not what was announced: {what} is {actual}, not {claimed}.",
                remedy="it was replaced after the event, or the event was wrong: announce the"
                " current object.",
                code="object_changed",
            )
    if found.size_bytes == 0:
        raise PermanentError(
            f"{name} has zero bytes.", remedy="upload the media asset again.", code="empty"
        )


def _too_large(name: str, size: int, limit: int) -> PermanentError:
    return PermanentError(
        f"{name} has {size} bytes or more, the limit is {limit}.",
        remedy="raise MEDIA_PIPELINE_OBJECT_STORE__MAX_OBJECT_BYTES if such media are wanted.",
        code="too_large",
    )


def _bucket_missing(bucket: str) -> SystemicError:
    return SystemicError(
        f"the bucket {bucket} does not exist.",
        remedy="create it, or correct the bucket names in the settings.",
        code="bucket_missing",
    )
