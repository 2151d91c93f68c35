"""Systemic errors take the run's retries away; others leave them."""

import dagster as dg
import pytest

from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.run_retries import MAX_RETRIES_TAG, systemic_errors_stop_retries


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run_of(instance):
    @dg.job
    def nothing(): ...

    return instance.create_run_for_job(nothing, tags={MAX_RETRIES_TAG: "2"}).run_id


@pytest.mark.parametrize(("error", "left"), [(SystemicError, "0"), (TransientError, "2")])
def test_retries_after(instance, error, left):
    run_id = run_of(instance)
    with pytest.raises(error), systemic_errors_stop_retries(instance, run_id):
        raise error("no", remedy="mend it")
    assert instance.get_run_by_id(run_id).tags[MAX_RETRIES_TAG] == left
