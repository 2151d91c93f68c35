"""Which sensors fail, for how long and why: from ticks in a real instance."""

import time

import dagster as dg
import pytest

from media_pipeline.sensor_ticks import running_sensors
from resources.orchestrator_figures import read_orchestrator
from tests.fakes.sensor_ticks import SensorStory


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def found(instance):
    return {one.name: (one.failed, one.good_at) for one in running_sensors(instance)}


def test_ticks_that_fail_are_counted_since_the_last_that_ended_well(instance):
    now = time.time()
    sensor = SensorStory(instance, "relay", started=now - 900)
    assert found(instance) == {}
    sensor.tick(now - 90)
    assert found(instance) == {"relay": (0, now - 90)}
    sensor.tick(now - 60, ValueError("first"))
    sensor.tick(now - 30, ValueError("second"))
    assert found(instance) == {"relay": (2, now - 90)}
    (one,) = running_sensors(instance)
    assert "second" in one.error.message
    sensor.tick(now)
    assert found(instance) == {"relay": (0, now)}


def test_one_that_never_ended_well_fails_since_it_was_started(instance):
    now = time.time()
    SensorStory(instance, "relay", started=now - 900).tick(now - 10, ValueError("no"))
    assert found(instance) == {"relay": (1, now - 900)}


def test_sensors_that_are_off_or_gone_are_no_news(instance):
    now = time.time()
    SensorStory(instance, "off", started=now, running=False).tick(now, ValueError("no"))
    SensorStory(instance, "gone", started=now - 9e4).tick(now - 7200, ValueError("no"))
    assert found(instance) == {}


def test_the_exporter_tells_them(instance):
    now = time.time()
    SensorStory(instance, "well", started=now).tick(now - 5)
    SensorStory(instance, "ill", started=now - 500).tick(now - 5, ValueError("no"))
    figures = read_orchestrator(instance)
    assert figures.failed_ticks == {"well": 0, "ill": 1}
    assert figures.success_ages["well"] == pytest.approx(5, abs=60)
    assert figures.success_ages["ill"] == pytest.approx(500, abs=60)
