"""The cursor: the truth for offsets."""

import pytest

from media_pipeline.errors import SystemicError
from sensors.cursor import SensorCursor


def test_round_trip():
    cursor = SensorCursor({"b": {1: 5, 0: 2}, "a": {}})
    assert SensorCursor.loads(cursor.dumps()) == cursor
    assert cursor.dumps() == '{"positions":{"a":{},"b":{"0":2,"1":5}}}'


@pytest.mark.parametrize("text", [None, ""])
def test_no_cursor_is_the_beginning(text):
    assert SensorCursor.loads(text).of("t") == {}


def test_moving_one_topic_leaves_the_others():
    cursor = SensorCursor({"a": {0: 1}}).moved("b", {0: 7})
    assert (cursor.of("a"), cursor.of("b")) == ({0: 1}, {0: 7})


@pytest.mark.parametrize(
    "text",
    ["x", "[]", "{}", '{"positions": []}', '{"positions": {"t": {"a": 1}}}',
     '{"positions": {"t": {"0": -1}}}', '{"positions": {"t": {"0": true}}}'],
)  # fmt: skip
def test_nonsense_stops_with_a_remedy(text):
    with pytest.raises(SystemicError) as caught:
        SensorCursor.loads(text)
    assert caught.value.code == "cursor_broken"
