"""Alerts against a real HTTP receiver: three formats, refusals, and not one secret."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from media_pipeline.domain.alerts import Alert
from media_pipeline.errors import PermanentError, TransientError
from media_pipeline.settings import AlertSettings
from resources.alert_webhooks import WebhookAlertSink
from tests.http_servers import start_serving

ALERT = Alert(
    name="MediaDependencyUnhealthy",
    fingerprint="abc123",
    severity="page",
    summary="The ledger is unhealthy: it failed 12 runs",
    description="PostgREST refused <!channel> & Authorization: Bearer hunter2hunter2",
    remedy="check password=hunter2hunter2 that PostgREST is up.",
    started_at=1_700_000_000.0,
    occurrences=12,
    asset_ids=("a-1", "a-2"),
    run_url="http://dagster/runs/r1",
    runbook_url="http://pages/run-failures.md#ledger",
    labels={"dependency": "ledger", "code": "ledger_unavailable"},
)


class Receiver:
    """Keeps what was posted; answers what it is told to."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, object]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, json.loads(body)))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()

            def log_message(self, *_): ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        start_serving(self.server)


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def sink(receiver: Receiver) -> WebhookAlertSink:
    def address(path: str) -> SecretStr:
        return SecretStr(f"{receiver.url}/{path}-hunter2hunter2")

    return WebhookAlertSink(
        AlertSettings(
            slack_webhook_url=address("slack"),
            alertmanager_url=address("alertmanager"),
            webhook_url=address("webhook"),
        )
    )


def test_only_what_is_set_up_is_a_receiver(receiver):
    assert WebhookAlertSink(AlertSettings()).receivers == []
    assert sink(receiver).receivers == ["slack", "alertmanager", "webhook"]


def test_slack_gets_channel_cause_remedy_and_links(receiver):
    sink(receiver).send("slack", [ALERT])
    ((path, body),) = receiver.requests
    assert path == "/slack-hunter2hunter2"
    assert body["channel"] == "#oncall-media-processing"
    (attachment,) = body["attachments"]
    assert attachment["title"] == "[page] The ledger is unhealthy: it failed 12 runs"
    for part in ("*Remedy:*", "a-1, a-2", "<http://dagster/runs/r1|Dagster>", "abc123",
                 "<http://pages/run-failures.md#ledger|runbook>"):  # fmt: skip
        assert part in attachment["text"]
    assert "<!channel>" not in attachment["text"]
    assert "&lt;!channel&gt; &amp;" in attachment["text"]


def test_alertmanager_gets_labels_and_annotations(receiver):
    sink(receiver).send("alertmanager", [ALERT])
    ((_, (alert,)),) = receiver.requests
    assert alert["labels"] == {
        "alertname": "MediaDependencyUnhealthy", "severity": "page", "service": "media-processing",
        "fingerprint": "abc123", "dependency": "ledger", "code": "ledger_unavailable",
    }  # fmt: skip
    assert alert["annotations"]["runbook_url"] == ALERT.runbook_url
    assert alert["annotations"]["asset_ids"] == "a-1, a-2"
    assert alert["startsAt"] == "2023-11-14T22:13:20Z"
    assert alert["endsAt"] == "2023-11-15T00:13:20Z"
    assert alert["generatorURL"] == ALERT.run_url


def test_webhooks_get_what_alertmanager_sends(receiver):
    sink(receiver).send("webhook", [ALERT, ALERT])
    ((_, body),) = receiver.requests
    assert (body["version"], body["status"], len(body["alerts"])) == ("4", "firing", 2)
    assert body["alerts"][0]["fingerprint"] == "abc123"


@pytest.mark.parametrize("name", ["slack", "alertmanager", "webhook"])
def test_no_payload_holds_a_secret(receiver, name):
    sink(receiver).send(name, [ALERT])
    assert "hunter2" not in json.dumps([body for _, body in receiver.requests])


def test_a_receiver_that_is_busy_is_asked_again(receiver):
    receiver.answers = [503, 200]
    sink(receiver).send("slack", [ALERT])
    assert len(receiver.requests) == 2


def test_a_receiver_that_stays_busy_is_transient(receiver):
    receiver.answers = [429, 500]
    with pytest.raises(TransientError) as caught:
        sink(receiver).send("slack", [ALERT])
    assert caught.value.code == "alert_undelivered"


@pytest.mark.parametrize("status", [404, 403, 302])
def test_a_refusal_is_permanent_and_names_no_address(receiver, status):
    receiver.answers = [status]
    with pytest.raises(PermanentError) as caught:
        sink(receiver).send("slack", [ALERT])
    assert caught.value.code == "alert_refused"
    assert receiver.url not in str(caught.value)
    assert len(receiver.requests) == 1


def test_nobody_there_names_no_address():
    gone = WebhookAlertSink(
        AlertSettings(slack_webhook_url=SecretStr("http://127.0.0.1:9/hunter2"))
    )
    with pytest.raises(TransientError) as caught:
        gone.send("slack", [ALERT])
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_settings_do_not_show_the_addresses(receiver):
    settings = AlertSettings(slack_webhook_url=SecretStr("http://x/hunter2"))
    assert "hunter2" not in repr(settings) + settings.model_dump_json()
