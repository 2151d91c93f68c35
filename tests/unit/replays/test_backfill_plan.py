"""Scattered media assets share runs; what lies together is left to Dagster's ranges."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_pipeline.replays.backfill_plan import PlannedBackfill, plan_backfills

ORDER = [f"k{number}" for number in range(40)]


def test_what_lies_together_is_one_backfill_of_all_its_keys():
    assert plan_backfills(["k3", "k1", "k2", "k1"], ORDER, 10) == [
        PlannedBackfill(("k1", "k2", "k3"))
    ]
    assert plan_backfills(ORDER, ORDER, 10) == [PlannedBackfill(tuple(ORDER))]
    assert plan_backfills([], ORDER, 10) == []


def test_keys_that_are_still_to_be_added_come_last_and_together():
    assert plan_backfills(["new-2", "k39", "new-1"], ORDER, 10) == [
        PlannedBackfill(("k39", "new-2", "new-1"))
    ]


def test_scattered_keys_share_runs_behind_anchors():
    (planned,) = plan_backfills(["k9", "k5", "k1", "k13", "k17", "k21"], ORDER, 3)
    assert planned.sets == (("k1", "k5", "k9"), ("k13", "k17", "k21"))
    assert planned.partition_keys == ["k1", "k13"]
    assert planned.keys == ("k1", "k5", "k9", "k13", "k17", "k21")


def test_no_run_config_grows_without_end():
    planned = plan_backfills(ORDER[::2], ORDER, 3, most_in_sets=8)
    assert [len(one.keys) for one in planned] == [7, 7, 6]
    assert sum((one.keys for one in planned), ()) == tuple(ORDER[::2])


@pytest.mark.parametrize(("ranges", "sets"), [(2, False), (3, True)])
def test_a_few_ranges_too_many_are_no_reason_for_sets(ranges, sets):
    keys = [f"k{10 * one + offset}" for one in range(ranges) for offset in range(3)]
    (planned,) = plan_backfills(keys, ORDER, 10)
    assert bool(planned.sets) == sets


@given(st.lists(st.sampled_from([*ORDER, "new-1", "new-2"])), st.integers(1, 9), st.integers(1, 20))
def test_each_key_is_in_exactly_one_run_and_no_run_is_too_large(keys, max_keys, most):
    planned = plan_backfills(keys, ORDER, max_keys, most)
    assert sorted(key for one in planned for key in one.keys) == sorted(set(keys))
    for one in planned:
        if one.sets:
            assert [key for keys in one.sets for key in keys] == list(one.keys)
            assert max(map(len, one.sets)) <= max_keys
            assert len(one.keys) <= max(most, max_keys)
            places = [ORDER.index(key) for key in one.partition_keys if key in ORDER]
            apart = all(b - a > 1 for a, b in itertools.pairwise(places))
            assert apart or max_keys == 1, "adjacent anchors would be one run"
