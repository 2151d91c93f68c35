"""The exporter over HTTP, its sources played."""

import pytest
import requests

from media_pipeline.domain.recovery import Breaker, Controls
from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.telemetry.collector import PipelineCollector
from media_pipeline.telemetry.exporter import serve
from media_pipeline.telemetry.figures import EventLogFigures, LedgerFigures, OrchestratorFigures
from tests.http_servers import start_serving

BREAKER = Breaker("bucket_missing", "open", "no bucket", None, 1, 0.0, 30.0)


class Played:
    """Sources with switches."""

    def __init__(self) -> None:
        self.away: set[str] = set()

    def source(self, name, value):
        def read():
            if name in self.away:
                raise TransientError(f"{name} is away", remedy="wait")
            return value

        return read

    def collector(self) -> PipelineCollector:
        orchestrator = OrchestratorFigures({"queued": 1}, {}, {}, {}, {"s": "9"})
        return PipelineCollector(
            ledger=self.source("ledger", LedgerFigures(outbox_rows=3)),
            controls=self.source("ledger", Controls(breakers=(BREAKER,))),
            event_log=self.source("event_log", EventLogFigures("t", {0: 10}, {0: 4})),
            orchestrator=self.source("dagster", orchestrator),
            credentials=self.source("credentials", {"ledger_token": 60.0}),
            devices=self.source("devices", {}),
            probes={"object_store": self.source("object_store", None)},
            position=lambda figures: {0: int(figures.cursors["s"])},
            processors=["text"],
            deadline_seconds=30,
            image="sha256:1",
        )


@pytest.fixture
def played():
    return Played()


@pytest.fixture
def exporter(played):
    """Starts servers; each is closed after the test."""
    running = []

    def start(token=None, pages=None):
        server = serve(played.collector(), "127.0.0.1", 0, token, pages)
        thread = start_serving(server)
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def scrape(url):
    answer = requests.get(f"{url}/metrics", timeout=30)
    answer.raise_for_status()
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_everything_up(exporter):
    found = scrape(exporter())
    assert found["media_outbox_rows"] == 3
    assert found['media_breaker_open{code="bucket_missing"}'] == 1
    assert found['media_consumer_lag_messages{kafka_partition="0",topic="t"}'] == 1
    assert found['media_credential_seconds_left{credential="ledger_token"}'] == 60
    up = {key: value for key, value in found.items() if "dependency_up" in key}
    assert set(up.values()) == {1}
    assert len(up) == 5


@pytest.mark.parametrize(
    ("dependency", "gone"),
    [
        ("ledger", "media_outbox_rows"),
        ("ledger", "media_breaker_open"),
        ("event_log", "media_consumer_lag_messages"),
        ("dagster", "media_runs"),
        ("credentials", "media_credential_seconds_left"),
        ("object_store", 'media_pipeline_dependency_seconds{dependency="object_store"}'),
    ],
)
def test_a_dependency_away_takes_its_series_along_and_nothing_else(
    exporter, played, dependency, gone
):
    url = exporter()
    before = scrape(url)
    assert [name for name in before if name.startswith(gone)]
    played.away = {dependency}
    after = scrape(url)
    assert not [name for name in after if name.startswith(gone)]
    up = f'media_pipeline_dependency_up{{dependency="{dependency}"}}'
    assert after[up] == 0
    others = {
        name: value for name, value in after.items() if "dependency_up" in name and name != up
    }
    assert set(others.values()) == {1}
    played.away = set()
    assert set(scrape(url)) == set(before)


def test_the_lag_survives_dagster_by_the_groups_offsets(exporter, played):
    played.away = {"dagster"}
    assert scrape(exporter())['media_consumer_lag_messages{kafka_partition="0",topic="t"}'] == 6


def test_health_asks_for_no_token_and_no_dependency(exporter, played):
    played.away = {"ledger", "event_log", "dagster", "credentials", "object_store"}
    url = exporter("secret")
    answer = requests.get(f"{url}/healthz", timeout=30)
    assert (answer.status_code, answer.text) == (200, "ok\n")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": b"Bearer \xff"}, 401),
        ({"Authorization": "Bearer secret"}, 200),
    ],
)
def test_the_token_is_asked_for(exporter, headers, status):
    url = exporter("secret")
    assert requests.get(f"{url}/metrics", headers=headers, timeout=30).status_code == status


def test_only_known_paths_and_reading(exporter):
    url = exporter()
    assert requests.get(f"{url}/", timeout=30).status_code == 404
    assert requests.post(f"{url}/metrics", timeout=30).status_code == 405


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "exporter.example"])  # noqa: S104
def test_nobody_is_let_in_without_a_token(played, host):
    with pytest.raises(SystemicError, match="exporter_unprotected"):
        serve(played.collector(), host, 0, None)


def test_a_taken_port_is_said(played, exporter):
    taken = int(exporter().rpartition(":")[2])
    with pytest.raises(SystemicError, match="exporter_port"):
        serve(played.collector(), "127.0.0.1", taken, None)


def test_pages_are_served_beside_the_metrics(exporter):
    def pages(path):
        if path == "/media/away":
            raise TransientError("Bearer hunter2hunter2", remedy="wait", code="ledger_busy")
        return (
            (404, "<p>unknown")
            if path == "/media/x"
            else (200, "<p>ä")
            if path == "/media"
            else None
        )

    url = exporter(pages=pages)
    page = requests.get(f"{url}/media", timeout=30)
    assert (page.status_code, page.text) == (200, "<p>ä")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert requests.get(f"{url}/media/x", timeout=30).status_code == 404
    assert requests.get(f"{url}/elsewhere", timeout=30).status_code == 404
    away = requests.get(f"{url}/media/away", timeout=30)
    assert away.status_code == 503
    assert "hunter2" not in away.text


def test_pages_want_the_token_too(exporter):
    url = exporter("secret", pages=lambda path: (200, "page"))
    assert requests.get(f"{url}/media", timeout=30).status_code == 401
    allowed = {"Authorization": "Bearer secret"}
    assert requests.get(f"{url}/media", headers=allowed, timeout=30).text == "page"
