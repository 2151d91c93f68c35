"""Sources that fail, hang and come back."""

import logging
import threading
import time

import pytest

from media_pipeline.telemetry.sources import Source


def soon():
    return time.monotonic() + 30


def past():
    return time.monotonic() - 1


def test_an_answer_and_its_seconds():
    source = Source("x", lambda: 7)
    answer = source.answer(source.ask(), soon())
    assert answer.value == 7
    assert answer.seconds >= 0


def test_a_failure_is_no_answer_and_is_logged_once(caplog):
    def fail():
        raise OSError("away")

    source = Source("x", fail)
    with caplog.at_level(logging.INFO):
        assert source.answer(source.ask(), soon()) is None
        assert source.answer(source.ask(), soon()) is None
    assert [record.message for record in caplog.records] == ["x does not answer: OSError: away"]


def test_a_source_that_hangs_is_asked_once_and_heard_when_it_answers():
    go, asked = threading.Event(), []

    def hang():
        asked.append(1)
        assert go.wait(30)
        return "late"

    source = Source("x", hang)
    for _ in range(5):
        assert source.answer(source.ask(), past()) is None
    pending = source.ask()
    go.set()
    assert source.answer(pending, soon()).value == "late"
    assert len(asked) == 1


def test_coming_back_is_logged(caplog):
    answers = [OSError("away"), 1]

    def read():
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    source = Source("x", read)
    with caplog.at_level(logging.INFO):
        source.answer(source.ask(), soon())
        assert source.answer(source.ask(), soon()).value == 1
    assert caplog.records[-1].message == "x answers again"


@pytest.mark.parametrize("value", [None, 0, {}])
def test_an_empty_answer_is_an_answer(value):
    source = Source("x", lambda: value)
    assert source.answer(source.ask(), soon()).value == value
