"""Real failed runs in a Dagster instance, through the sensor, into receivers."""

import time

import dagster as dg
import pytest

from media_pipeline.batch_tags import range_run_tags, set_run_config, set_run_tags
from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.run_retries import stop_run_retries
from media_pipeline.settings import AlertSettings, Settings
from resources.batch import BatchResource
from sensors import run_failures
from sensors.failure_causes import DEPENDENCIES
from sensors.run_failures import evaluate
from tests.fakes.alert_sink import FakeAlertSink
from tests.fakes.sensor_ticks import SensorStory

SETTINGS = Settings(alerts=AlertSettings(max_asset_ids=3), dagster_url="http://dagster")
PARTITIONS = dg.DynamicPartitionsDefinition(name="media_asset")
KEYS = ["k1", "k2", "k3", "k4"]


class Oncall:
    """An instance whose runs fail as told, and the sensor over it."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        instance.add_dynamic_partitions("media_asset", KEYS)
        self.sink = FakeAlertSink("slack", "alertmanager")
        self.cursor: str | None = None
        self.now = time.time() + 3600  # every decision about retries is made by then
        self.tick()

    def tick(self) -> str:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = evaluate(context, self.sink, SETTINGS, clock=lambda: self.now)
        self.cursor = result.cursor
        return result.skip_reason.skip_message

    def run(self, error: Exception | None, *, tags=None, config=None, name: str = "text", **more):
        @dg.asset(
            name=name, partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run()
        )
        def one(context: dg.AssetExecutionContext, batch: BatchResource) -> None:
            if error is not None:
                raise error

        defs = dg.Definitions(
            assets=[more.get("asset", one)],
            jobs=[dg.define_asset_job("job", selection="*", executor_def=dg.in_process_executor)],
            resources={"batch": BatchResource.configure_at_launch()},
        )
        done = defs.resolve_job_def("job").execute_in_process(
            instance=self.instance, raise_on_error=False,
            tags=tags or range_run_tags(KEYS), run_config=config or {},
        )  # fmt: skip
        assert not done.success
        return done.run_id


@pytest.fixture
def oncall(monkeypatch):
    """In memory, where Dagster keeps no ticks."""
    monkeypatch.setattr(run_failures, "running_sensors", lambda _: ())
    with dg.DagsterInstance.ephemeral() as instance:
        yield Oncall(instance)


@pytest.fixture
def with_ticks(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield Oncall(instance)


def error(code: str = "model_missing", cls=SystemicError) -> Exception:
    return cls("it is gone.", remedy="bring it back.", code=code)


def test_a_failed_run_is_told_with_cause_remedy_links_and_assets(oncall):
    run_id = oncall.run(error())
    assert oncall.tick() == "1 failed runs, 1 alerts."
    (alert,) = oncall.sink.got["slack"]
    assert oncall.sink.got["alertmanager"] == [alert]
    assert (alert.labels["code"], alert.labels["step"]) == ("model_missing", "text")
    assert (alert.description, alert.remedy) == ("it is gone.", "bring it back.")
    assert alert.run_url == f"http://dagster/runs/{run_id}"
    assert alert.asset_ids == ("k1", "k4")
    assert oncall.tick() == "0 failed runs, 0 alerts."


def test_history_is_not_told(oncall):
    oncall.run(error())
    oncall.cursor = None
    assert oncall.tick() == "Failures from now on are told."
    assert oncall.tick() == "0 failed runs, 0 alerts."
    assert oncall.sink.got["slack"] == []


def test_many_runs_of_one_cause_are_one_alert(oncall):
    for _ in range(3):
        oncall.run(error("ledger_unavailable", TransientError))
    oncall.run(error("ledger_busy", TransientError), name="ocr")
    oncall.tick()
    (alert,) = oncall.sink.got["slack"]
    assert (alert.name, alert.occurrences) == ("MediaDependencyUnhealthy", 4)


def test_what_nobody_foresaw_is_grouped_by_where_it_broke(oncall):
    oncall.run(ZeroDivisionError("division by zero"))
    oncall.tick()
    (alert,) = oncall.sink.got["slack"]
    assert alert.labels["code"] == "ZeroDivisionError"
    assert "division by zero" in alert.description


def test_set_runs_name_their_keys(oncall):
    oncall.run(error(), tags=set_run_tags(KEYS), config=set_run_config(KEYS))
    oncall.tick()
    assert oncall.sink.got["slack"][0].asset_ids == ("k1", "k2", "k3")


def test_a_failed_verdict_names_the_reason_of_those_that_wait(oncall):
    reason = "text/transient: [object_store_unavailable] S3 is away. Remedy: wait."
    reasons = {"k2": reason, "k3": reason}
    failed = dg.AssetCheckResult(
        passed=False,
        check_name="batch_verdict",
        metadata={"waiting_for_retry": dg.MetadataValue.json(reasons), "unknown_keys": 0},
    )

    @dg.asset(
        partitions_def=PARTITIONS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[dg.AssetCheckSpec("batch_verdict", asset="enrichment", blocking=True)],
    )
    def enrichment(context: dg.AssetExecutionContext, batch: BatchResource):
        yield dg.MaterializeResult(check_results=[failed])

    oncall.run(None, asset=enrichment)
    oncall.tick()
    (alert,) = oncall.sink.got["slack"]
    assert alert.labels["dependency"] == "object store"
    assert alert.asset_ids == ("k2", "k3")
    assert (alert.description, alert.remedy) == ("S3 is away.", "wait.")


def test_a_run_that_died_without_a_word_is_told(oncall):
    run = oncall.instance.create_run_for_job(_noop)
    oncall.instance.report_run_failed(run, "Detected run worker status FAILED")
    oncall.tick()
    (alert,) = oncall.sink.got["slack"]
    assert alert.labels["code"] == "run_died"
    assert "OOM" in alert.remedy


def test_a_receiver_that_is_down_holds_up_no_other_and_loses_nothing(oncall):
    oncall.sink.down = {"slack"}
    oncall.run(error())
    assert "Not delivered, tried again: slack" in oncall.tick()
    assert len(oncall.sink.got["alertmanager"]) == 1
    oncall.sink.down = set()
    oncall.tick()
    oncall.tick()
    assert len(oncall.sink.got["slack"]) == len(oncall.sink.got["alertmanager"]) == 1


def test_a_sensor_whose_ticks_fail_is_told_once_an_hour(with_ticks):
    sensor = SensorStory(with_ticks.instance, "stragglers_sensor", started=with_ticks.now)
    for second in range(3):
        assert with_ticks.sink.got["slack"] == []
        sensor.tick(with_ticks.now + second, ZeroDivisionError("division by zero"))
        with_ticks.now += 60
        said = with_ticks.tick()
    assert said == "0 failed runs, 1 alerts. Ticks fail: stragglers_sensor."
    (alert,) = with_ticks.sink.got["slack"]
    assert (alert.name, alert.severity) == ("MediaSensorTicksFailing", "ticket")
    assert alert.summary == "stragglers_sensor has failed 3 ticks in a row: ZeroDivisionError"
    assert alert.run_url == "http://dagster/automation"
    assert alert.runbook_url == "deploy/runbooks/sensor-ticks-failing.md"
    with_ticks.tick()
    with_ticks.now += SETTINGS.alerts.repeat_seconds
    sensor.tick(with_ticks.now, ZeroDivisionError("division by zero"))
    with_ticks.tick()
    first, second = with_ticks.sink.got["slack"]
    assert (first.fingerprint, second.occurrences) == (second.fingerprint, 4)
    sensor.tick(with_ticks.now + 1)
    with_ticks.now += SETTINGS.alerts.repeat_seconds
    assert with_ticks.tick() == "0 failed runs, 0 alerts."


def test_runs_and_ticks_that_a_dependency_fails_are_one_alert(with_ticks):
    away = error("ledger_unavailable", TransientError)
    sensors = [
        SensorStory(with_ticks.instance, name, started=with_ticks.now - 600)
        for name in ("media_events_sensor", "scaling_sensor")
    ]
    for sensor in sensors:
        for second in range(3):
            sensor.tick(with_ticks.now + second, away)
    with_ticks.run(away)
    with_ticks.tick()
    (alert,) = with_ticks.sink.got["slack"]
    assert alert.name == "MediaDependencyUnhealthy"
    assert alert.summary == (
        "The ledger is unhealthy: it failed 1 run, ticks of media_events_sensor,"
        " ticks of scaling_sensor"
    )


def test_a_few_failed_ticks_of_a_minute_are_no_news(with_ticks):
    sensor = SensorStory(with_ticks.instance, "media_events_sensor", started=with_ticks.now - 9)
    for second in range(5):
        sensor.tick(with_ticks.now + second, error())
    assert with_ticks.tick() == "0 failed runs, 0 alerts."
    with_ticks.now += SETTINGS.alerts.failed_ticks_seconds
    with_ticks.tick()
    assert with_ticks.sink.got["slack"][0].severity == "page"


def test_without_receivers_the_tick_says_so(oncall):
    oncall.sink = FakeAlertSink()
    oncall.run(error())
    assert "No receiver is set" in oncall.tick()


def test_a_run_that_dagster_retries_is_waited_for(oncall, monkeypatch):
    """The decision to retry is written a moment after the failure: until then, it waits."""
    monkeypatch.setattr(type(oncall.instance), "run_retries_enabled", property(lambda _: True))
    run_id = oncall.run(error("odd", TransientError))
    tags = oncall.instance.get_run_by_id(run_id).tags
    assert tags["dagster/will_retry"] == "false"
    record = oncall.instance.get_run_by_id(run_id)
    monkeypatch.setattr(
        type(oncall.instance), "get_runs",
        lambda self, *a, **k: [record.with_tags({})],
    )  # fmt: skip
    oncall.now = time.time()
    assert oncall.tick() == "0 failed runs, 0 alerts."
    oncall.now += 60
    assert oncall.tick() == "1 failed runs, 1 alerts."


def test_systemic_failures_page(oncall):
    run_id = oncall.run(error())
    stop_run_retries(oncall.instance, run_id)
    oncall.tick()
    assert oncall.sink.got["slack"][0].severity == "page"


def test_every_code_of_a_dependency_is_one_that_adapters_raise():
    from pathlib import Path

    root = Path(__file__).parents[3]
    policy = root / "media_pipeline" / "domain" / "failures.py"
    adapters = (root / "resources").rglob("*.py")
    sources = "".join(path.read_text() for path in (policy, *adapters))
    assert [code for code in DEPENDENCIES if f'"{code}"' not in sources] == []


@dg.job
def _noop(): ...
