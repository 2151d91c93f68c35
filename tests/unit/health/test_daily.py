"""The checks as a whole: every port is asked, and none that is away takes the others with it."""

import json
from dataclasses import replace

import pytest

from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.health.daily import DailySources, daily_report
from media_pipeline.settings import DailyCheckSettings, Settings
from media_pipeline.telemetry.figures import DeviceFigures
from sensors.daily_checks import require_nothing_wrong
from tests.fakes import ledger_story
from tests.fakes.dead_letter_store import FakeDeadLetterStore
from tests.fakes.event_log import FakeEventLog
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.operations_ledger import FakeOperationsLedger

TOPIC = "media.ingested.v1"
SETTINGS = Settings(daily=DailyCheckSettings(max_lag=2, max_open_letters=3))


class Away:
    """A port nobody answers at; what it says holds a secret."""

    def __getattr__(self, name):
        def refuse(*_, **__):
            raise TransientError(
                "refused Authorization: Bearer hunter2hunter2", remedy="wait", code="away"
            )

        return refuse


@pytest.fixture
def sources():
    ledger, log = FakeMetadataStore(), FakeEventLog()
    log.create(TOPIC, 2)
    for number in range(5):
        log.append(TOPIC, number % 2, b"k", b"v")
    ledger_story.arrive(ledger, "good")
    ledger_story.run(ledger, "good")
    ledger_story.bury(ledger, "bad")
    return DailySources(
        event_source=log,
        metadata_store=ledger,
        object_store=FakeObjectStore(),
        operations=FakeOperationsLedger(ledger),
        dead_letters=FakeDeadLetterStore(ledger),
        positions=lambda: {0: 3, 1: 2},
        devices=lambda: {"0": DeviceFigures(0.2, 0.3)},
    )


def found(report):
    return {(one.check, one.subject): one for one in report.findings}


def test_everything_is_asked(sources):
    report = daily_report(sources, SETTINGS)
    rows = found(report)
    assert report.level == "warn", "one open dead letter"
    assert report.lags == {0: 0, 1: 0}
    assert {name for check, name in rows if check == "dependency"} == {
        "event log", "object store", "ledger",
    }  # fmt: skip
    assert rows["open dead letters", "all"].figure == "1"
    assert ("GPU", "0") in rows
    assert ("failures of two days", "text") in rows


def test_lag_is_from_the_sensors_positions(sources):
    report = daily_report(replace(sources, positions=dict), SETTINGS)
    assert report.lags == {0: 3, 1: 2}
    assert found(report)["consumer lag", "Kafka partition 0"].level == "fail"


@pytest.mark.parametrize(
    ("away", "dependency"),
    [("event_source", "event log"), ("object_store", "object store"), ("metadata_store", "ledger")],
)
def test_what_is_away_is_a_finding_without_its_secrets(sources, away, dependency):
    report = daily_report(replace(sources, **{away: Away()}), SETTINGS)
    finding = found(report)["dependency", dependency]
    assert finding.level == "fail"
    assert "hunter2" not in json.dumps(report.as_json())
    assert "away" in finding.figure


def test_what_cannot_be_asked_is_said(sources):
    report = daily_report(
        replace(
            sources, operations=Away(), dead_letters=Away(), positions=Away().positions,
            dagster=Away().query, devices=Away().read,
        ),
        SETTINGS,
    )  # fmt: skip
    rows = found(report)
    for check in ("consumer lag", "outcomes of yesterday", "open dead letters", "GPU"):
        assert rows[check, "all"].level == "unknown"
    assert rows["dependency", "Dagster"].level == "fail"


def test_the_scheduled_run_fails_where_something_is_wrong(sources):
    require_nothing_wrong(daily_report(sources, SETTINGS))
    report = daily_report(replace(sources, positions=dict), SETTINGS)
    with pytest.raises(SystemicError) as caught:
        require_nothing_wrong(report)
    assert caught.value.code == "daily_check_failed"
    assert "Kafka partition 0: 3 messages" in str(caught.value)
