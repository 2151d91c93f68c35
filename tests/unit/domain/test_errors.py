"""Errors carry a remedy and survive a process border."""

import pickle

import pytest

from media_pipeline.errors import PermanentError, SystemicError, TransientError


@pytest.mark.parametrize("cls", [TransientError, PermanentError, SystemicError])
def test_message_names_code_and_remedy(cls):
    error = cls("it broke", remedy="mend it", code="broken")
    assert str(error) == "[broken] it broke Remedy: mend it"
    assert cls("x", remedy="y").code == cls.default_code


def test_pickles():
    error = pickle.loads(pickle.dumps(PermanentError("m", remedy="r", code="c")))  # noqa: S301
    assert (type(error), error.message, error.remedy, error.code) == (PermanentError, "m", "r", "c")
