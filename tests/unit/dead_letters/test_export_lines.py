import csv
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_pipeline.dead_letters.export_lines import (
    CSV_COLUMNS,
    csv_head,
    csv_line,
    end_line,
    head_line,
    letter_line,
    read_lines,
)
from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.errors import PermanentError
from tests.unit.dead_letters.test_grouping import letter

RECORD = MessageRecord("in", 3, 7, 1, b"k", b"\x00\xff bytes", (("h", b"\xfe"), ("h", b"")))


def lines(*letters):
    head, end = head_line("ledger", "2026-01-01T00:00:00Z"), end_line(len(letters))
    return [line.encode() for line in [head, *map(letter_line, letters), end]]


def refusal(changed):
    with pytest.raises(PermanentError) as refused:
        list(read_lines(changed, "x.jsonl"))
    assert refused.value.code == "export_refused"
    return str(refused.value)


binary = st.one_of(st.none(), st.binary(max_size=64))


@given(key=binary, value=binary, header=st.text(max_size=8), message=st.text(max_size=64))
def test_what_is_written_is_read(key, value, header, message):
    record = MessageRecord("in", 0, 1, 2, key, value, ((header, b"\x00"),))
    kept = replace(letter(message), record=record, asset_id="a", replay_count=2)
    assert list(read_lines(lines(kept, kept), "x")) == [kept, kept]


def test_a_letter_without_its_record_is_not_exported():
    with pytest.raises(ValueError, match="has no record"):
        letter_line(letter("x"))


def test_an_export_of_nothing_is_whole():
    assert list(read_lines(lines(), "x")) == []


GOOD = lines(replace(letter("x"), record=RECORD), replace(letter("y", 1), record=RECORD))


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ([], 1),
        (GOOD[:-1], 4),
        (GOOD[:2], 3),
        ([*GOOD[:2], GOOD[2][:50]], 3),
        ([*GOOD[:2], GOOD[2].replace(b'"partition":0', b'"partition":1'), GOOD[3]], 3),
        ([*GOOD[:2], b'{"a": 1}\n', GOOD[3]], 3),
        ([*GOOD[:2], b"\xff\xfe\n", GOOD[3]], 3),
        ([*GOOD[:2], b"[1]\n", GOOD[3]], 3),
        ([GOOD[0], GOOD[1], GOOD[3]], 3),
        ([*GOOD, GOOD[1]], 5),
        (GOOD[1:], 1),
        ([b'{"dead_letters":2}\n', *GOOD[1:]], 1),
        ([csv_head().encode(), csv_line(letter("x"), "f").encode()], 1),
        ([b"[" * 100_000 + b"\n"], 1),
    ],
)
def test_half_foreign_or_changed_files_are_refused_with_the_line(changed, line):
    said = refusal(changed)
    assert f"x.jsonl, line {line}:" in said
    assert "Nothing was done." in said


def test_a_line_with_a_good_sum_and_a_bad_record_is_refused():
    document = json.loads(GOOD[1])
    document["record"]["value"] = "not base64!"
    del document["sha256"]
    from media_pipeline.dead_letters.export_lines import _check

    document["sha256"] = _check(document)
    assert "line 2: no dead letter" in refusal(
        [GOOD[0], json.dumps(document).encode() + b"\n", GOOD[3]]
    )


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@x", "\tx"])
def test_no_cell_of_the_table_is_a_formula(text):
    line = csv_line(replace(letter(text), asset_id="a\nb,c"), "f")
    (cells,) = csv.reader([line])
    row = dict(zip(CSV_COLUMNS, cells, strict=True))
    assert row["message"] == f"'{text}"
    assert (row["asset_id"], row["fingerprint"], row["replay_count"]) == ("a b,c", "f", "0")
