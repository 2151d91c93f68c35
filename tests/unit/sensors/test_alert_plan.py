"""One alert per cause, not per run; what is held back is counted."""

from pathlib import Path

import pytest

from media_pipeline.errors import SystemicError
from media_pipeline.settings import AlertSettings, Settings
from sensors.alert_plan import AlertState, plan_alerts
from sensors.failure_causes import DEPENDENCIES, Failure

SETTINGS = Settings(
    alerts=AlertSettings(max_per_tick=3, repeat_seconds=600, runbook_url="http://pages/"),
    dagster_url="http://dagster/",
)


def failure(code: str = "cause", run: str = "r1", **fields) -> Failure:
    given = {
        "run_id": run, "job": "enrich_media_job", "failed_at": 1000.0, "step": "text", "code": code,
        "message": f"it broke: {code}", "remedy": "mend it.", "where": "", "systemic": False,
        "retried": False, "asset_ids": (f"asset-{run}",), **fields,
    }  # fmt: skip
    return Failure(**given)


def plan(failures, told=None, now=1000.0):
    return plan_alerts(failures, told or {}, now, SETTINGS)


def test_runs_of_one_cause_are_one_alert():
    (alert,), _ = plan([failure(run=f"r{n}", failed_at=1000.0 - n) for n in range(12)])
    assert alert.summary == "12 runs failed in text: cause"
    assert (alert.name, alert.severity, alert.occurrences) == ("MediaRunsFailed", "ticket", 12)
    assert alert.asset_ids == tuple(f"asset-r{n}" for n in range(5))
    assert alert.started_at == 989.0
    assert alert.run_url == "http://dagster/runs/r0"
    assert alert.runbook_url == "http://pages/run-failures.md"


def test_an_unhealthy_dependency_is_one_alert_whatever_failed():
    failures = [
        failure("ledger_unavailable", run="a", step="text"),
        failure("ledger_busy", run="b", step="ocr"),
        failure("ledger_unavailable", run="c", step="enrichment", job="other"),
        failure("object_store_unavailable", run="d"),
    ]
    alerts, _ = plan(failures)
    assert [(one.labels["dependency"], one.occurrences) for one in alerts] == [
        ("ledger", 3), ("object store", 1),
    ]  # fmt: skip
    assert {one.severity for one in alerts} == {"page"}
    assert alerts[1].runbook_url.endswith("run-failures.md#object-store")


def test_a_secret_id_that_somebody_took_pages_although_passwords_are_refused_too():
    failures = [
        failure("credentials_refused", run="a", retried=True),
        failure("wrapping_token_used", run="b", retried=True),
    ]
    alerts, _ = plan(failures)
    taken = alerts[1]
    assert (len(alerts), taken.severity, taken.labels["code"]) == (2, "page", "wrapping_token_used")
    assert taken.runbook_url.endswith("run-failures.md#secret-id")


def test_every_dependency_has_its_part_of_the_page():
    page = (Path(__file__).parents[3] / "deploy" / "runbooks" / "run-failures.md").read_text()
    headings = {line[3:].lower() for line in page.splitlines() if line.startswith("## ")}
    assert set(DEPENDENCIES.values()) <= headings


def test_a_cause_is_told_again_after_a_while_with_what_was_held_back():
    (first,), told = plan([failure(run="r1")])
    none, told = plan([failure(run="r2"), failure(run="r3")], told, now=1100.0)
    (again,), told = plan([failure(run="r4")], told, now=1700.0)
    assert none == []
    assert again.fingerprint == first.fingerprint
    assert again.occurrences == 3
    assert told[first.fingerprint].held == 0


def test_causes_that_are_over_are_forgotten():
    _, told = plan([failure()])
    _, told = plan([], told, now=5000.0)
    assert told == {}


def test_a_retried_run_is_no_news_unless_a_dependency_is_down():
    alerts, told = plan([failure(retried=True), failure("ledger_busy", run="r2", retried=True)])
    assert [one.labels.get("dependency") for one in alerts] == ["ledger"]
    assert len(told) == 1


def test_a_systemic_cause_pages():
    (alert,), _ = plan([failure("model_missing", systemic=True)])
    assert alert.severity == "page"
    assert alert.runbook_url.endswith("/model-update.md")


def test_more_causes_than_a_tick_may_tell_become_one_alert():
    failures = [failure(f"cause-{n}", run=f"r{n}") for n in range(20)]
    alerts, told = plan(failures)
    assert len(alerts) == 4
    assert alerts[-1].summary == "17 runs failed of further causes"
    alerts, _ = plan([failure(f"cause-{n}", run=f"s{n}") for n in range(20, 40)], told, now=1010.0)
    assert len(alerts) == 3, "the overflow was told just now"


def test_secrets_in_messages_are_hidden():
    (alert,), _ = plan([failure(message="password=hunter2 was refused")])
    assert "hunter2" not in alert.description


def test_the_state_survives_its_text():
    alerts, told = plan([failure()])
    state = AlertState(17, told, {}).queued(["slack"], alerts)
    assert AlertState.loads(state.dumps()) == state
    assert AlertState.loads(state.delivered("slack").dumps()).pending == {}


def test_pending_alerts_are_bounded():
    (alert,), _ = plan([failure()])
    state = AlertState(0)
    for _ in range(120):
        state = state.queued(["slack"], [alert])
    assert len(state.pending["slack"]) == 50


def test_a_broken_cursor_says_what_to_do():
    with pytest.raises(SystemicError) as caught:
        AlertState.loads('{"after": "x"}')
    assert caught.value.code == "cursor_broken"
