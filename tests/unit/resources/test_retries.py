"""Transient errors only, few, bounded in time, and a server's own Retry-After first."""

import pytest

from media_pipeline.errors import PermanentError, SystemicError, TransientError
from resources.retries import RetryLaterError, with_retries


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


class Failing:
    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def transient() -> TransientError:
    return TransientError("m", remedy="r")


def run(call: Failing, clock: Clock, **options) -> str:
    return with_retries(call, sleep=clock.sleep, clock=clock, **options)


def test_success_after_transient_errors():
    call, clock = Failing(*[transient() for _ in range(3)]), Clock()
    assert run(call, clock) == "answer"
    assert call.calls == 4
    assert len(clock.pauses) == 3
    assert all(0 <= pause <= 8 for pause in clock.pauses)


def test_the_last_error_leaves_after_four_tries():
    call = Failing(*[transient() for _ in range(9)])
    with pytest.raises(TransientError):
        run(call, Clock())
    assert call.calls == 4


@pytest.mark.parametrize("cls", [PermanentError, SystemicError])
def test_other_errors_leave_at_once(cls):
    call = Failing(cls("m", remedy="r"))
    with pytest.raises(cls):
        run(call, Clock())
    assert call.calls == 1


def test_retry_after_is_honoured():
    error = RetryLaterError("m", remedy="r")
    error.after_seconds = 12.0
    clock = Clock()
    assert run(Failing(error), clock) == "answer"
    assert clock.pauses == [12.0]


def test_a_pause_that_the_budget_does_not_allow_is_not_waited():
    error = RetryLaterError("m", remedy="r")
    error.after_seconds = 31.0
    call, clock = Failing(error), Clock()
    with pytest.raises(RetryLaterError):
        run(call, clock, total_seconds=30)
    assert (call.calls, clock.pauses) == (1, [])
