"""From errors to named outcomes."""

import pytest

from media_pipeline.dead_letters.policy import code_of
from media_pipeline.domain.outcome import Code
from media_pipeline.errors import PermanentError, TransientError


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("object_missing", Code.OBJECT_MISSING),
        ("object_changed", Code.OBJECT_CHANGED),
        ("too_large", Code.TOO_LARGE),
        ("empty", Code.EMPTY),
        ("bucket_not_allowed", Code.INVALID),
        ("anything", Code.INVALID),
        # Only the cage may say that a decoder crashed or ran out of time.
        ("crash", Code.INVALID),
    ],
)
def test_permanent_errors_keep_their_name(code, outcome):
    assert code_of(PermanentError("m", remedy="r", code=code)) is outcome


def test_transient_errors_wait():
    assert code_of(TransientError("m", remedy="r", code="object_missing")) is Code.TRANSIENT
