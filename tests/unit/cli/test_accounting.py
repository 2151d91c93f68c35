"""Every message accounted for, or said in words what is not."""

from dataclasses import replace

import pytest

from media_pipeline.cli.accounting import Census, faults

GOOD = Census(
    messages=13,
    by_status={"complete": 7, "partial": 1, "dead_lettered": 2},
    rejected=2,
    enriched_events=8,
    dead_letters=4,
    objects=30,
    unpublished=0,
    lag=0,
)


def test_all_accounted_for():
    assert GOOD.accounted == 12  # one of the thirteen messages was a redelivery
    assert GOOD.settled(12)
    assert faults(GOOD, 12) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lag": 1}, "1 messages were not read"),
        ({"by_status": {**GOOD.by_status, "claimed": 1}}, "1 media assets are unfinished"),
        ({"unpublished": 3}, "3 events were not published"),
        ({"rejected": 1, "dead_letters": 3}, "12 distinct messages, 11 accounted for"),
        ({"enriched_events": 9}, "8 enriched media assets, 9 events"),
        ({"dead_letters": 3}, "4 dead letters, 3 in the topic"),
    ],
)
def test_each_fault_is_named(change, words):
    assert faults(replace(GOOD, **change), 12) == [words]


@pytest.mark.parametrize("change", [{"lag": 1}, {"unpublished": 1}, {"by_status": {"claimed": 12}}])
def test_unsettled(change):
    assert not replace(GOOD, **change).settled(12)
