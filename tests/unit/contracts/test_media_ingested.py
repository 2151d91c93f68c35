"""`media.ingested.v1`: what is accepted, what is refused and under which name."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_pipeline.contracts import media_ingested
from media_pipeline.contracts.media_ingested import (
    Rejected,
    build_media_ingested,
    parse_media_ingested,
)
from media_pipeline.domain.media_asset import (
    MediaAsset,
    MessageRecord,
    SourceObject,
    content_version,
)

SCHEMA = json.loads(
    (Path(media_ingested.__file__).parent / "schemas" / "media.ingested.v1.json").read_text()
)
GOOD = {
    "event_id": "e-1",
    "occurred_at": "2026-01-01T00:00:00Z",
    "asset_id": "a-1",
    "bucket": "media",
    "object_key": "in/a-1.pdf",
}


def parse(value, key=None, headers=(), **options):
    data = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    record = MessageRecord("media.ingested.v1", 0, 1, 0, key, data, headers)
    return parse_media_ingested(record, allowed_buckets={"media"}, **options)


def test_the_smallest_message():
    asset = parse(GOOD, key=b"a-1")
    assert isinstance(asset, MediaAsset)
    assert asset.source == SourceObject("media", "in/a-1.pdf")
    assert (asset.priority, asset.ocr_languages) == ("live", ())
    assert asset.content_version == "event:e-1"


def test_every_field_and_unknown_ones_are_kept():
    message = {
        **GOOD, "content_type": "application/pdf", "size_bytes": 7, "etag": '"abc"',
        "sha256": "A" * 64, "version_id": "v", "ocr_languages": ["eng", "chi_sim"],
        "priority": "backfill", "album": {"id": 1},
    }  # fmt: skip
    asset = parse(
        message, headers=(("traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"),)
    )
    assert asset.source == SourceObject(
        "media", "in/a-1.pdf", "v", "abc", "a" * 64, 7, "application/pdf"
    )
    assert asset.extra == {"album": {"id": 1}}
    assert (asset.priority, asset.ocr_languages) == ("backfill", ("eng", "chi_sim"))
    assert asset.traceparent.startswith("00-111")


def cloud_event(**changes):
    return {
        "specversion": "1.0", "id": "ce-1", "source": "s", "type": "media.ingested.v1",
        "time": "2026-01-02T00:00:00Z",
        "data": {name: GOOD[name] for name in ("asset_id", "bucket", "object_key")}, **changes,
    }  # fmt: skip


def test_a_structured_cloud_event():
    asset = parse(cloud_event())
    assert (asset.event_id, asset.occurred_at) == ("ce-1", "2026-01-02T00:00:00Z")


def test_a_binary_cloud_event():
    headers = (
        ("ce_specversion", b"1.0"), ("ce_type", b"media.ingested.v1"), ("ce_id", b"ce-2"),
        ("ce_time", b"2026-01-02T00:00:00Z"),
    )  # fmt: skip
    asset = parse(cloud_event()["data"], headers=headers)
    assert asset.event_id == "ce-2"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "empty_message"),
        (b"", "empty_message"),
        (b'{"event_id": "e-1", "asset', "malformed_json"),
        (b"\xff\xfe{}", "invalid_utf8"),
        (b"[" * 100_000, "malformed_json"),
        (b'{"asset_id": "a", "asset_id": "b"}', "malformed_json"),
        (b'{"size_bytes": NaN}', "malformed_json"),
        (b"[1]", "not_an_object"),
        (b"x" * (1024 * 1024 + 1), "oversized_message"),
        ({**GOOD, "type": "media.ingested.v2"}, "unknown_version"),
        ({**GOOD, "schema_version": 2}, "unknown_version"),
        (cloud_event(type="media.deleted.v1"), "unknown_version"),
        (cloud_event(specversion="0.3"), "unknown_version"),
        (cloud_event(data="text"), "wrong_type"),
        ({name: value for name, value in GOOD.items() if name != "bucket"}, "missing_field"),
        ({**GOOD, "asset_id": ""}, "missing_field"),
        ({**GOOD, "asset_id": 5}, "wrong_type"),
        ({**GOOD, "asset_id": "a,b"}, "bad_asset_id"),
        ({**GOOD, "asset_id": "x" * 129}, "bad_asset_id"),
        ({**GOOD, "bucket": "secrets"}, "bucket_not_allowed"),
        ({**GOOD, "object_key": "../etc/passwd"}, "bad_object_key"),
        ({**GOOD, "object_key": "a/../b"}, "bad_object_key"),
        ({**GOOD, "object_key": "/abs"}, "bad_object_key"),
        ({**GOOD, "object_key": "a\\b"}, "bad_object_key"),
        ({**GOOD, "object_key": "a\nb"}, "bad_object_key"),
        ({**GOOD, "object_key": "ä" * 513}, "bad_object_key"),
        ({**GOOD, "object_key": "in/\x9b31m.pdf"}, "bad_object_key"),
        ({**GOOD, "object_key": "in/exe.\u202egpj"}, "bad_object_key"),
        ({**GOOD, "object_key": "http://inside/../x"}, "bad_object_key"),
        ({**GOOD, "size_bytes": "7"}, "wrong_type"),
        ({**GOOD, "size_bytes": -1}, "wrong_type"),
        ({**GOOD, "size_bytes": True}, "wrong_type"),
        ({**GOOD, "sha256": "short"}, "wrong_type"),
        ({**GOOD, "ocr_languages": "eng"}, "wrong_type"),
        ({**GOOD, "ocr_languages": ["../x"]}, "wrong_type"),
        ({**GOOD, "priority": "urgent"}, "wrong_type"),
        ({**GOOD, "occurred_at": "x" * 513}, "wrong_type"),
    ],
)  # fmt: skip
def test_refused(value, code):
    rejected = parse(value)
    assert isinstance(rejected, Rejected)
    assert rejected.code == code
    assert rejected.message


def test_a_record_key_that_names_another_asset():
    assert parse(GOOD, key=b"a-2").code == "key_mismatch"


def test_names_with_dots_are_no_traversal():
    assert isinstance(parse({**GOOD, "object_key": "in/report..v2/a...pdf"}), MediaAsset)


@given(st.binary(max_size=200), st.one_of(st.none(), st.binary(max_size=20)))
def test_no_bytes_raise(value, key):
    parse(value, key)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(SCHEMA["properties"], json_values)))
def test_no_json_raises_and_what_is_accepted_fits_the_schema(changes):
    message = {**GOOD, **changes}
    parsed = parse(message)
    if isinstance(parsed, MediaAsset):
        jsonschema.validate(message, SCHEMA)


texts = st.text(
    st.characters(
        exclude_categories=["Cs", "Cc"],
        exclude_characters="\\/.\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    ),
    min_size=1,
    max_size=20,
)


@given(
    st.builds(
        SourceObject,
        bucket=st.just("media"),
        object_key=st.lists(texts, min_size=1, max_size=4).map("/".join),
        version_id=st.none() | texts,
        etag=st.none() | st.text("0123456789abcdef-", min_size=1, max_size=40),
        sha256=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
        size_bytes=st.none() | st.integers(0, 2**40),
        content_type=st.none() | texts,
    ),
    st.lists(st.sampled_from(["eng", "deu", "chi_sim"]), max_size=3),
    st.sampled_from(["live", "backfill"]),
)
def test_what_is_built_is_read_back_and_fits_the_schema(source, languages, priority):
    asset = MediaAsset(
        "a-1", content_version(source, "e-1"), source, "e-1", "2026-01-01T00:00:00Z", priority,
        tuple(languages), None, {"album": 1},
    )  # fmt: skip
    event = build_media_ingested(asset, topic="media.ingested.v1")
    jsonschema.validate(json.loads(event.payload), SCHEMA)
    assert parse(event.payload, event.key, event.headers) == asset
