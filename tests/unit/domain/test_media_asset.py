"""Identity of the bytes: the strongest claim wins."""

import pytest

from media_pipeline.domain.media_asset import ASSET_ID_PATTERN, SourceObject, content_version


@pytest.mark.parametrize(
    ("claims", "version"),
    [
        ({"sha256": "ab", "etag": "e", "version_id": "v"}, "sha256:ab"),
        ({"etag": "e", "version_id": "v"}, "version:v"),
        ({"etag": "e"}, "etag:e"),
        ({}, "event:event-1"),
    ],
)
def test_content_version(claims, version):
    assert content_version(SourceObject("b", "k", **claims), "event-1") == version


@pytest.mark.parametrize("asset_id", ["a", "A-1._~", "x" * 128])
def test_good_asset_ids(asset_id):
    assert ASSET_ID_PATTERN.fullmatch(asset_id)


@pytest.mark.parametrize("asset_id", ["", "a,b", "a/b", "a b", "ä", "x" * 129, "a\n"])
def test_asset_ids_that_break_partition_keys(asset_id):
    assert not ASSET_ID_PATTERN.fullmatch(asset_id)
