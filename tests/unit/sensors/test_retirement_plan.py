"""The window: by count and by age, oldest first, never what a run needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.retirement_plan import Place, Range, busy_keys, decided_by, removable

KEYS = [f"k{number}" for number in range(10)]


def test_keys_beyond_the_count_are_apart_from_those_within():
    place = Place("somewhere", "k4")
    assert place.split(KEYS[:3]) == (["k0", "k1", "k2"], [])
    assert place.split(KEYS[2:6]) == (["k2", "k3"], ["k4", "k5"])


def test_behind_the_boundary_every_key_is_within_the_count():
    place = Place("somewhere", "k4").behind(KEYS[2:6], "further")
    assert place == Place("further", None)
    assert place.split(KEYS[6:]) == ([], KEYS[6:])
    assert Place("somewhere", "k4").behind(KEYS[:3], "further") == Place("further", "k4")


@pytest.mark.parametrize("text", [None, "", "k17", "[]", '{"strange": 1}'])
def test_a_cursor_that_cannot_be_read_begins_a_round(text):
    assert Place.loads(text) == Place()


def test_a_place_is_read_as_it_was_written():
    place = Place("somewhere", "k4")
    assert Place.loads(place.dumps()) == place


def test_a_range_keeps_all_that_lies_between_its_ends():
    busy = busy_keys(KEYS, [Range("k2", "k4")])
    assert busy == {"k2", "k3", "k4"}
    assert removable(KEYS[:6], busy) == ["k0", "k1", "k5"]


def test_a_range_of_unknown_size_is_not_decided_by_a_page_without_its_ends():
    assert decided_by(KEYS[2:5], [Range("k0", "k1", 2), Range("k4", "k9")])
    assert not decided_by(KEYS[2:5], [Range("k0", "k9", 10)])
    assert not decided_by(KEYS[2:5], [Range("k0", "k1")])


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_what_a_page_decides_is_what_all_keys_say(a, b, c, d, told):
    first, last = sorted((a, b))
    start, end = sorted((c, d))
    page, size = KEYS[start : end + 1], last - first + 1 if told else None
    ranges = [Range(f"k{first}", f"k{last}", size)]
    if decided_by(page, ranges):
        assert busy_keys(page, ranges) == busy_keys(KEYS, ranges) & set(page)
