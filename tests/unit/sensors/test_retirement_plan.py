"""The window: by count and by age, oldest first, never what a run needs."""

from hypothesis import given
from hypothesis import strategies as st

from media_pipeline.settings import RetirementSettings
from sensors.retirement_plan import busy_keys, page_of, removable

KEYS = [f"k{number}" for number in range(10)]


def settings(keep=6, tick=4):
    return RetirementSettings(keep_keys=keep, max_keys_per_tick=tick)


def test_keys_beyond_the_count_are_apart_from_those_within():
    page = page_of(KEYS, "k1", settings())
    assert (page.crowded, page.others, page.last) == (["k2", "k3"], ["k4", "k5"], False)


def test_pages_follow_each_other_to_the_end():
    seen, after = [], None
    while True:
        page = page_of(KEYS, after, settings(tick=3))
        seen += page.keys
        if page.last:
            break
        after = page.keys[-1]
    assert seen == KEYS


def test_a_cursor_that_was_removed_begins_anew():
    assert page_of(KEYS, "gone", settings()).keys == ["k0", "k1", "k2", "k3"]


def test_nothing_known_is_the_last_page():
    page = page_of([], None, settings())
    assert (page.keys, page.last) == ([], True)


@given(st.integers(0, 30), st.integers(1, 40), st.integers(1, 40), st.integers(0, 30))
def test_only_what_is_beyond_the_count_is_crowded(number, keep, tick, start):
    known = [f"k{one}" for one in range(number)]
    page = page_of(known, f"k{start}", settings(keep, tick))
    assert set(page.crowded).isdisjoint(known[-keep:])
    assert set(page.others) <= set(known[-keep:])
    assert len(page.keys) <= tick


def test_a_range_keeps_all_that_lies_between_its_ends():
    busy = busy_keys(KEYS, [("k2", "k4"), ("gone", "k9")])
    assert busy == {"k2", "k3", "k4"}
    assert removable(KEYS[:6], busy) == ["k0", "k1", "k5"]
