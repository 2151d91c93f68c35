"""Offsets and times as people write them, against what the topic holds."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from media_pipeline.cli.replay_options import topic_range
from media_pipeline.domain.ports import Span
from media_pipeline.errors import PermanentError
from tests.fakes.event_log import FakeEventLog

TOPIC = "media.ingested.v1"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CURSOR = {0: 10, 1: 4}


@pytest.fixture
def log():
    """Kafka partition 0: offsets 3..9 are kept, a minute apart; 1: 0..3."""
    log = FakeEventLog()
    log.create(TOPIC, 2)
    for partition, count in ((0, 10), (1, 4)):
        for number in range(count):
            at = NOW - timedelta(minutes=10 - number)
            log.append(TOPIC, partition, b"k", b"v", timestamp_ms=int(at.timestamp() * 1000))
    log.expire(TOPIC, 0, 3)
    return log


def asked(log, *from_offset, time=None, to=(), cursor=CURSOR):
    return topic_range(log, TOPIC, from_offset, time, to, cursor, NOW)


def test_offsets_to_the_end_or_up_to_one(log):
    assert asked(log, "0:4").range.spans == {0: Span(4, 10)}
    assert asked(log, "0:4", "1:0", to=["0:6"]).range.spans == {0: Span(4, 6), 1: Span(0, 4)}
    assert asked(log, "0:10").range.size == 0


def test_a_time_covers_all_kafka_partitions(log):
    found = asked(log, time="5m", to=["2m"])
    assert found.range.spans == {0: Span(5, 10), 1: Span(4, 4)}
    assert found.range.since_ms == int((NOW - timedelta(minutes=5)).timestamp() * 1000)
    assert found.range.until_ms == int((NOW - timedelta(minutes=2)).timestamp() * 1000)


def test_a_moment_ends_a_range_of_offsets(log):
    found = asked(log, "0:4", to=["2026-06-01T11:58Z"])
    assert found.range.until_ms == int((NOW - timedelta(minutes=2)).timestamp() * 1000)


def test_what_the_sensor_has_not_read_is_left_to_it(log):
    found = asked(log, "0:4", cursor={0: 7})
    assert found.range.spans == {0: Span(4, 7)}
    assert "has not come to 3 of these" in found.notes[0]
    assert asked(log, "0:8", cursor={}).range.size == 0


def test_what_retention_may_have_taken_is_told(log):
    (note,) = asked(log, time="1h").notes
    assert "media.ingested.v1/0 begins at offset 3" in note


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ({"from_offset": ["0:2"]}, "offset_out_of_range", "retention has left 3 to 9"),
        ({"from_offset": ["0:11"]}, "offset_out_of_range", "there are 3 to 9"),
        ({"from_offset": ["7:0"]}, "kafka_partition_missing", "no Kafka partition 7"),
        ({"from_offset": ["0:5"], "to": ["0:4"]}, "range_refused", "not between 5 and 10"),
        ({"from_offset": ["0:5"], "to": ["0:11"]}, "range_refused", "not between 5 and 10"),
        ({"from_offset": ["0:5"], "to": ["1:2"]}, "range_refused", "no start was given"),
        ({"time": "2026-06-01T12:01Z"}, "time_in_future", "in the future"),
        ({"time": "5m", "to": ["2999-01-01"]}, "time_in_future", "--to"),
        ({"time": "5m", "to": ["6m"]}, "range_refused", "not after"),
    ],
)
def test_ranges_that_cannot_be_meant(log, words, code, said):
    with pytest.raises(PermanentError, match=said) as caught:
        asked(log, *words.pop("from_offset", ()), **words)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("words", "to"),
    [(["0"], []), (["0:x"], []), (["0:1", "0:2"], []), (["0:4"], ["5m", "2m"]),
     (["0:4"], ["0:5", "2m"]), (["0:4"], ["yesterday"])],
)  # fmt: skip
def test_words_that_are_no_offset(log, words, to):
    with pytest.raises(typer.BadParameter):
        asked(log, *words, to=to)
