"""What is usual, what is odd, what is wrong."""

from datetime import date, timedelta

import pytest

from media_pipeline.domain.operations import DayCount
from media_pipeline.health.findings import (
    Finding,
    LetterGroup,
    Probe,
    count_findings,
    dependency_findings,
    gpu_findings,
    lag_findings,
    letter_findings,
    worst,
)
from media_pipeline.settings import DailyCheckSettings
from media_pipeline.telemetry.figures import DeviceFigures

TODAY = date(2026, 3, 10)
LIMITS = DailyCheckSettings(max_lag=100, max_open_letters=5, max_groups=2)


def days(counts, outcome="ok", kind="text"):
    """`counts`: of today, yesterday, the day before, ..."""
    return [
        DayCount(TODAY - timedelta(days=ago), kind, outcome, count, count * 0.1)
        for ago, count in enumerate(counts)
    ]


def levels(findings):
    return {(one.check, one.subject): one.level for one in findings}


def test_lag_is_looked_at_by_kafka_partition():
    found = levels(lag_findings({0: 100, 1: 101, 2: 0}, LIMITS))
    assert found == {
        ("consumer lag", "Kafka partition 0"): "ok",
        ("consumer lag", "Kafka partition 1"): "fail",
        ("consumer lag", "Kafka partition 2"): "ok",
    }


@pytest.mark.parametrize(
    ("yesterday", "level"), [(1000, "ok"), (850, "ok"), (500, "warn"), (0, "warn"), (1600, "warn")]
)
def test_yesterday_is_held_against_the_days_before(yesterday, level):
    found = count_findings(days([10, yesterday, 1000, 1020, 980, 1000]), TODAY, LIMITS)
    assert levels(found)["outcomes of yesterday", "text"] == level


def test_a_few_days_say_nothing_of_what_is_usual():
    found = count_findings(days([10, 0, 1000, 1000]), TODAY, LIMITS)
    assert levels(found)["outcomes of yesterday", "text"] == "ok"
    assert "not known" in found[0].expected


def test_a_varying_week_allows_more():
    found = count_findings(days([10, 400, 1000, 500, 1500, 800]), TODAY, LIMITS)
    assert levels(found)["outcomes of yesterday", "text"] == "ok"


@pytest.mark.parametrize(("bad", "level"), [(3, "ok"), (40, "fail")])
def test_failures_of_two_days_are_held_against_a_limit(bad, level):
    rows = days([60, 100]) + days([bad], outcome="invalid")
    assert levels(count_findings(rows, TODAY, LIMITS))["failures of two days", "text"] == level


def test_what_fails_usually_is_not_wrong():
    rows = days([100, 100, 100, 100]) + days([30, 30, 30, 30], outcome="encrypted")
    assert levels(count_findings(rows, TODAY, LIMITS))["failures of two days", "text"] == "ok"


def test_few_outcomes_say_nothing_of_a_ratio():
    rows = days([1], outcome="crash")
    assert levels(count_findings(rows, TODAY, LIMITS))["failures of two days", "text"] == "ok"


def group(count, name="f1"):
    return LetterGroup(name, "text", "invalid", count, "2026-03-10T00:00:00Z", "broken")


@pytest.mark.parametrize(
    ("groups", "more", "level"),
    [([], False, "ok"), ([group(5)], False, "warn"), ([group(6)], False, "fail"),
     ([group(1)], True, "fail")],
)  # fmt: skip
def test_open_letters_are_counted(groups, more, level):
    assert letter_findings(groups, more, LIMITS)[0].level == level


def test_only_the_largest_causes_are_listed():
    found = letter_findings([group(3, f"f{n}") for n in range(9)], False, LIMITS)
    assert [one.subject for one in found] == ["all", "text/invalid f0", "text/invalid f1"]


def test_a_saturated_gpu_warns():
    devices = {
        "0": DeviceFigures(0.99, 0.1), "1": DeviceFigures(0.1, 0.97), "2": DeviceFigures(0.5, 0.5),
    }  # fmt: skip
    found = gpu_findings(devices, LIMITS)
    assert [one.level for one in found] == ["warn", "warn", "ok"]


def test_a_dependency_that_is_away_is_wrong_and_a_slow_one_odd():
    probes = [Probe("ledger", 0.1), Probe("object store", 9.0), Probe("event log", 0.1, "away")]
    assert [one.level for one in dependency_findings(probes, LIMITS)] == ["ok", "warn", "fail"]


def test_the_worst_counts():
    made = [Finding("c", "s", level, "f") for level in ("ok", "warn", "unknown")]
    assert worst(made) == "warn"
    assert worst([]) == "ok"
