"""Counting a plan, refusing an insane one, and saying how long it takes."""

from collections import Counter

import pytest

from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.ports import RejectedMessage
from media_pipeline.errors import PermanentError
from media_pipeline.replays.plan import WORDS, cpu_seconds, duration, make_plan, require_sane
from media_pipeline.replays.steps import Step


def step(run=0, **counts):
    record = MessageRecord("t", 3, 7, 0, None, b"x")
    rejected = [RejectedMessage(record, "contract", "wrong_type", "-")] * counts.get("invalid", 0)
    found = [(f"a{number}", "v") for number in range(run)]
    return Step({}, versions=found, rejected=rejected, counts=Counter(counts))


def test_a_plan_adds_up_and_keeps_ten_names():
    plan = make_plan([step(8, missing=8), step(8, missing=8, complete=2, outside=5)])
    assert (plan.run, plan.messages, len(plan.samples)) == (16, 18, 10)
    assert plan.counts == {"missing": 16, "complete": 2, "outside": 5}
    assert set(plan.counts) <= set(WORDS)


def test_a_range_of_invalid_messages_is_not_buried():
    plan = make_plan([step(9, missing=9), step(invalid=11)])
    with pytest.raises(PermanentError, match=r"11 of 20.*t/3/7.*wrong_type") as caught:
        require_sane(plan, 0.5, 20)
    assert caught.value.code == "invalid_ratio"
    require_sane(plan, 0.55, 20)
    require_sane(plan, 0.5, 21)
    require_sane(make_plan([]), 0.5, 0)


def test_an_estimate_is_made_of_what_was_recorded():
    assert cpu_seconds(100, {"text": 0.5, "ocr": 2.0}, ["text", "ocr", "new"]) == 250
    assert cpu_seconds(100, {}, ["text"]) is None


@pytest.mark.parametrize(
    ("seconds", "said"), [(12.4, "12 s"), (600, "10 min"), (7199, "120 min"), (9000, "2.5 h")]
)
def test_durations(seconds, said):
    assert duration(seconds) == said
