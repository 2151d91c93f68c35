"""A run works on the keys it was made for, or not at all."""

from types import SimpleNamespace

import pytest

from media_pipeline.batch_tags import (
    RANGE_END_TAG,
    RANGE_START_TAG,
    range_run_tags,
    run_keys,
    set_run_config,
    set_run_tags,
)
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


def test_each_run_of_a_backfill_works_on_the_sets_of_its_own_anchors():
    config = set_run_config(["c", "a"], ["x", "y", "z"], ["y", "b"])
    batch = BatchResource(**config["resources"]["batch"]["config"])
    assert batch.keys_of(context(["c"], {})) == ["c", "a"]
    assert batch.keys_of(context(["x", "y"], {})) == ["x", "y", "z", "y", "b"]
    tags = {RANGE_START_TAG: "c", RANGE_END_TAG: "c"}
    assert run_keys(tags, config) == ["c", "a"]
    assert run_keys(range_run_tags(["m", "n"]), config) == ["m", "n"]


def test_a_backfill_of_the_ui_carries_no_digest_and_is_trusted():
    assert BatchResource().keys_of(context(["x"], {})) == ["x"]


@pytest.mark.parametrize("now", [["a", "c"], ["a", "b", "b2", "c"], ["b", "a", "c"]])
def test_a_range_that_resolves_to_other_keys_is_refused(now):
    tags = range_run_tags(["a", "b", "c"])
    with pytest.raises(SystemicError, match="batch_changed"):
        BatchResource().keys_of(context(now, tags))
