"""Each content version is downloaded once; what is permanent is remembered, what passes is not."""

import pytest

from media_pipeline.assets.source_media import SourceMedia
from media_pipeline.domain.media_asset import MediaAsset, SourceObject
from media_pipeline.domain.ports import FetchedObject
from media_pipeline.errors import PermanentError, TransientError


def asset(asset_id: str, version: str = "sha256:1") -> MediaAsset:
    return MediaAsset(asset_id, version, SourceObject("media", asset_id), "e", "2026-01-01")


class Store:
    def __init__(self, *errors):
        self.errors = list(errors)
        self.fetched = []

    def fetch(self, source, into, *, max_bytes):
        self.fetched.append(source.object_key)
        if self.errors:
            raise self.errors.pop(0)
        into.write_bytes(b"x")
        return FetchedObject(into, "digest", 1, None, None)


def test_a_content_version_is_fetched_once(tmp_path):
    store = Store()
    media = SourceMedia(store, tmp_path, max_bytes=10)
    first = media.fetch(asset("a"))
    assert media.fetch(asset("a")) == first
    assert store.fetched == ["a"]


def test_another_version_of_the_same_media_asset_is_another_file(tmp_path):
    media = SourceMedia(Store(), tmp_path, max_bytes=10)
    assert media.fetch(asset("a", "etag:1")).path != media.fetch(asset("a", "etag:2")).path


def test_a_permanent_error_is_remembered(tmp_path):
    store = Store(PermanentError("gone", remedy="upload", code="object_missing"))
    media = SourceMedia(store, tmp_path, max_bytes=10)
    for _ in range(2):
        with pytest.raises(PermanentError, match="object_missing"):
            media.fetch(asset("a"))
    assert store.fetched == ["a"]


def test_a_transient_error_is_asked_for_again(tmp_path):
    store = Store(TransientError("slow", remedy="wait"))
    media = SourceMedia(store, tmp_path, max_bytes=10)
    with pytest.raises(TransientError):
        media.fetch(asset("a"))
    assert media.fetch(asset("a")).size_bytes == 1


def test_no_part_of_an_identity_becomes_a_path(tmp_path):
    media = SourceMedia(Store(), tmp_path, max_bytes=10)
    fetched = media.fetch(asset("a", "etag:../../etc/passwd"))
    assert fetched.path.parent == tmp_path
