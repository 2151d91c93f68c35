from datetime import UTC, datetime, timedelta, timezone

import pytest
import typer

from media_pipeline.cli.dlq_options import StateChoice, letter_filter, moment, operator
from media_pipeline.cli.dlq_shown import printable, shown_bytes
from media_pipeline.errors import PermanentError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ID = "76b1b46f-3f30-5038-aacb-e6b1a6b46291"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-01-31T12:00Z", NOW),
        ("2026-01-31T12:00", NOW),
        ("2026-01-31T13:00+01:00", NOW),
        ("2026-01-31", NOW.replace(hour=0)),
    ],
)
def test_moments_are_instants_or_times_ago(text, expected):
    found = moment(text, NOW)
    assert found == expected
    assert found.tzinfo in (UTC, timezone(timedelta(hours=1)))


@pytest.mark.parametrize("text", ["yesterday", "7", "7w", ""])
def test_other_moments_are_refused(text):
    with pytest.raises(typer.BadParameter):
        moment(text, NOW)


def test_what_is_open_is_meant_unless_said_otherwise():
    assert letter_filter().states == ("open", "validated")
    assert letter_filter(states=[StateChoice.ALL]).states == ()
    assert letter_filter(states=[StateChoice.REPLAYED]).states == ("replayed",)
    assert letter_filter(ids=[ID]).states == (), "who names a letter means it"


def test_ids_come_from_options_and_files(tmp_path):
    file = tmp_path / "ids"
    file.write_text(f"# chosen by hand\n\n{ID}\n")
    assert letter_filter(ids=["x"], ids_file=file).ids == {ID, "x"}
    file.write_text("")
    assert letter_filter(ids_file=file).ids == frozenset(), "an empty list means none, not all"
    file.write_text(f"{ID}\n{ID[:20]}\n")
    with pytest.raises(PermanentError, match="entry 2 is no dead letter id"):
        letter_filter(ids_file=file)


def test_there_is_always_somebody():
    assert operator("anna")[0] == "anna"
    assert all(operator(None))


def test_strangers_write_nothing_on_the_terminal():
    assert printable("a\x1b[31mb\u202ec\ud800\n") == "a\\x1b[31mb\\u202ec\\ud800\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, "none"),
        (b"", ""),
        ("Gruß".encode(), "Gruß"),
        (b"\xff\x00A", "00000000  ff 00 41" + " " * 41 + "..A"),
    ],
)
def test_bytes_are_text_where_they_are(data, expected):
    assert shown_bytes(data) == expected


def test_long_values_are_cut_and_say_so():
    assert shown_bytes(b"x" * 5000).endswith("... 904 more bytes; `dlq export` has them")
    assert shown_bytes(b"\x00" * 5000).endswith("... 4744 more bytes")
    assert "more bytes" in shown_bytes("ä".encode() * 2500)
