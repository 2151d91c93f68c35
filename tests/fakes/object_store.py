"""`ObjectStore` in memory, with the same refusals as the real one."""

import hashlib
import threading
import time
from pathlib import Path

from media_pipeline.domain.media_asset import SourceObject
from media_pipeline.domain.ports import FetchedObject
from media_pipeline.domain.reconciliation import StoredObject
from media_pipeline.errors import PermanentError, SystemicError


class FakeObjectStore:
    def __init__(self, allowed_buckets=("media",), missing_buckets=()) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[tuple[str, str], tuple[bytes, str | None]] = {}
        self.modified: dict[str, float] = {}
        self.fetches: list[str] = []
        self.allowed_buckets = allowed_buckets
        self.missing_buckets = set(missing_buckets)
        self._lock = threading.Lock()

    def fetch(self, source: SourceObject, into: Path, *, max_bytes: int) -> FetchedObject:
        self._require_allowed(source.bucket)
        if source.bucket in self.missing_buckets:
            raise SystemicError("no bucket", remedy="make it", code="bucket_missing")
        with self._lock:
            self.fetches.append(source.object_key)
        if (source.bucket, source.object_key) not in self.uploads or source.version_id:
            raise PermanentError("no object", remedy="upload it", code="object_missing")
        data, content_type = self.uploads[source.bucket, source.object_key]
        if len(data) > max_bytes:
            raise PermanentError("too large", remedy="raise the limit", code="too_large")
        found = FetchedObject(
            into, hashlib.sha256(data).hexdigest(), len(data), _etag(data), content_type
        )
        for claimed, actual in (
            (source.sha256, found.digest),
            (source.etag, found.etag),
            (source.size_bytes, found.size_bytes),
        ):
            if claimed is not None and claimed != actual:
                raise PermanentError("changed", remedy="announce it", code="object_changed")
        if not data:
            raise PermanentError("empty", remedy="upload it", code="empty")
        into.write_bytes(data)
        return found

    def put(self, object_key: str, data: bytes, content_type: str) -> None:
        with self._lock:
            self.objects[object_key] = data
            self.modified[object_key] = time.time()

    def get(self, object_key: str) -> bytes:
        if object_key not in self.objects:
            raise PermanentError("no object", remedy="make it", code="object_missing")
        return self.objects[object_key]

    def upload(self, bucket: str, object_key: str, data: bytes, content_type: str | None) -> None:
        self._require_allowed(bucket)
        with self._lock:
            self.uploads[bucket, object_key] = (data, content_type or "application/octet-stream")

    def list_keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.objects if key.startswith(prefix))

    def list_objects(self, prefix, after, limit):
        keys = [key for key in self.list_keys(prefix) if key > (after or "")][:limit]
        return [StoredObject(key, self.modified.get(key, 0.0)) for key in keys]

    def present(self, object_keys):
        return {key for key in object_keys if key in self.objects}

    def link(self, object_key: str) -> str:
        import urllib.parse

        return f"http://fake/media-derived/{urllib.parse.quote(object_key)}"

    def probe(self) -> None:
        if self.missing_buckets:
            raise SystemicError("no bucket", remedy="make it", code="bucket_missing")

    def _require_allowed(self, bucket: str) -> None:
        if bucket not in self.allowed_buckets:
            raise PermanentError("not ours", remedy="allow it", code="bucket_not_allowed")


def _etag(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()  # noqa: S324  # what S3 calls an etag
