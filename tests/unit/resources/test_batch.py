"""A run works on the keys it was made for, or not at all."""

from types import SimpleNamespace

import pytest

from media_pipeline.batch_tags import range_run_tags, set_run_config, set_run_tags
from media_pipeline.errors import SystemicError
from resources.batch import BatchResource


def context(keys, tags):
    return SimpleNamespace(partition_keys=keys, run=SimpleNamespace(tags=tags))


def test_a_range_run_works_on_its_range():
    keys = ["a", "b", "c"]
    assert BatchResource().keys_of(context(keys, range_run_tags(keys))) == keys


def test_a_set_run_works_on_the_keys_of_its_configuration():
    keys = ["c", "a"]
    config = set_run_config(keys)["resources"]["batch"]["config"]
    batch = BatchResource(**config)
    assert batch.is_set_run
    assert batch.keys_of(context(["c"], set_run_tags(keys))) == keys


def test_a_backfill_of_the_ui_carries_no_digest_and_is_trusted():
    assert BatchResource().keys_of(context(["x"], {})) == ["x"]


@pytest.mark.parametrize("now", [["a", "c"], ["a", "b", "b2", "c"], ["b", "a", "c"]])
def test_a_range_that_resolves_to_other_keys_is_refused(now):
    tags = range_run_tags(["a", "b", "c"])
    with pytest.raises(SystemicError, match="batch_changed"):
        BatchResource().keys_of(context(now, tags))
