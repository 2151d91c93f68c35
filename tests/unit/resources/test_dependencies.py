"""A probe fails for what is broken, not for what the asker may not see."""

import pytest

from media_pipeline.errors import SystemicError, TransientError
from resources.dependencies import DependenciesResource


class Port:
    def __init__(self, error=None):
        self.error = error

    def probe(self):
        if self.error:
            raise self.error


def probe(ledger=None, store=None):
    # As Dagster's own initialisation would, without a run.
    DependenciesResource.probe(
        type("Both", (), {"metadata_store": Port(ledger), "object_store": Port(store)})()
    )


@pytest.mark.parametrize("code", ["credentials_refused", "credentials_missing"])
def test_a_sensor_that_may_not_read_objects_learns_that_the_store_answers(code):
    probe(store=SystemicError("no", remedy="-", code=code))


@pytest.mark.parametrize(
    ("ledger", "store"),
    [
        (None, SystemicError("no", remedy="-", code="bucket_missing")),
        (None, TransientError("away", remedy="-")),
        (SystemicError("no", remedy="-", code="credentials_refused"), None),
        (TransientError("away", remedy="-"), None),
    ],
)
def test_what_is_broken_is_told(ledger, store):
    with pytest.raises((SystemicError, TransientError)):
        probe(ledger, store)
