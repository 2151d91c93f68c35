"""How many keys go into one run."""

from hypothesis import given
from hypothesis import strategies as st

from media_pipeline.settings import BatchSettings
from sensors.batch_plan import batch_size, batches

SETTINGS = BatchSettings(min_keys=25, max_keys=500, target_run_seconds=60)


def test_a_small_backlog_goes_at_once():
    assert batch_size(25, 10.0, SETTINGS) == 25


def test_a_large_backlog_is_cut_to_the_target_time():
    assert batch_size(100_000, 0.3, SETTINGS) == 200


def test_slow_and_fast_processing_stay_within_the_bounds():
    assert batch_size(100_000, 60.0, SETTINGS) == 25
    assert batch_size(100_000, 0.0, SETTINGS) == 500


def test_batches_are_even():
    assert [len(one) for one in batches(range(402), 0.3, SETTINGS)] == [134, 134, 134]


@given(st.integers(0, 3000), st.floats(0, 100))
def test_every_key_is_in_exactly_one_batch_in_order(keys, seconds):
    cut = batches(list(range(keys)), seconds, SETTINGS)
    assert [key for batch in cut for key in batch] == list(range(keys))
    assert all(0 < len(batch) <= SETTINGS.max_keys for batch in cut)
