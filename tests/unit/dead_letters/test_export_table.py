"""Dead letters as a Parquet table: every field, every byte."""

import io
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pytest

from media_pipeline.dead_letters.export_table import write_table
from media_pipeline.dead_letters.grouping import error_fingerprint
from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.errors import PermanentError
from tests.unit.dead_letters.test_grouping import letter

RECORD = MessageRecord("in", 3, 7, 1, b"k", b"\x00\xff bytes", (("h", b"\xfe"), ("h", b"")))


def table(*letters):
    written = io.BytesIO()
    assert write_table(written, iter(letters)) == len(letters)
    return pd.read_parquet(io.BytesIO(written.getvalue()))


def test_a_letter_keeps_its_fields_and_the_bytes_of_its_record():
    kept = replace(letter("x"), record=RECORD, asset_id="a", replay_count=2)
    (row,) = table(kept).to_dict("records")
    assert (row["key"], row["value"]) == (b"k", b"\x00\xff bytes")
    headers = [(one["name"], one["value"]) for one in row["headers"]]
    assert headers == [("h", b"\xfe"), ("h", b"")]
    assert (row["dlq_id"], row["asset_id"], row["replay_count"]) == (kept.dlq_id, "a", 2)
    assert row["fingerprint"] == error_fingerprint(kept)
    assert row["last_failed_at"] == datetime.fromisoformat(kept.last_failed_at).astimezone(UTC)


def test_what_is_not_there_is_null():
    empty = MessageRecord("in", 0, 0, 0, None, None, ())
    (row,) = table(replace(letter("x"), record=empty)).to_dict("records")
    assert (row["key"], row["value"], list(row["headers"])) == (None, None, [])
    assert row["asset_id"] is None or pd.isna(row["asset_id"])


def test_many_letters_and_none():
    many = [replace(letter("x"), dlq_id=str(n), record=RECORD) for n in range(1_001)]
    assert list(table(*many)["dlq_id"]) == [one.dlq_id for one in many]
    assert len(table()) == 0
    assert "value" in table().columns


def test_a_letter_without_its_record_is_not_exported():
    with pytest.raises(ValueError, match="has no record"):
        write_table(io.BytesIO(), [letter("x")])


def test_without_pyarrow_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PermanentError, match="media-pipeline\\[parquet\\]"):
        write_table(io.BytesIO(), [])
