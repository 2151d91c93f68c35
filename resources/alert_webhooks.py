"""Alerts over HTTP: Slack-compatible, Alertmanager's API, Alertmanager-compatible webhooks.

The addresses are secrets: whoever knows a webhook may post to it. They stand in no log, error
or Dagster configuration.
"""
# No postponed annotations: Dagster reads the real ones.

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from media_pipeline.domain.alerts import Alert, AlertSink
from media_pipeline.domain.redaction import redact
from media_pipeline.errors import PermanentError, TransientError
from media_pipeline.settings import AlertSettings, load_settings
from resources.retries import with_retries

Payload = Callable[[Sequence[Alert], AlertSettings], Any]

_CONNECT_SECONDS = 3.0
_SERVER_ERROR = 500
_TRY_AGAIN = {408, 425, 429}
_MAX_TEXT = 1500
#: Few: the sensor keeps what was not delivered and tries again with its next tick.
_TRIES = 2
_TOTAL_SECONDS = 10.0


def slack_payload(alerts: Sequence[Alert], settings: AlertSettings) -> dict[str, Any]:
    """An incoming-webhook message: one attachment per alert."""
    return {
        "channel": settings.channel,
        "text": _slack("; ".join(alert.summary for alert in alerts)),
        "attachments": [_attachment(alert) for alert in alerts],
    }


def alertmanager_payload(alerts: Sequence[Alert], settings: AlertSettings) -> list[dict[str, Any]]:
    """The body of POST /api/v2/alerts. An alert that does not come again ends by itself."""
    return [
        {
            "labels": _labels(alert),
            "annotations": _annotations(alert),
            "startsAt": _time(alert.started_at),
            "endsAt": _time(alert.started_at + 2 * settings.repeat_seconds),
            "generatorURL": alert.run_url,
        }
        for alert in alerts
    ]


def webhook_payload(alerts: Sequence[Alert], settings: AlertSettings) -> dict[str, Any]:
    """What Alertmanager itself sends to webhook receivers (version 4)."""
    single = alerts[0] if len(alerts) == 1 else None
    return {
        "version": "4",
        "groupKey": f"media-pipeline:{','.join(alert.fingerprint for alert in alerts)}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": settings.channel.lstrip("#"),
        "groupLabels": {"service": "media-processing"},
        "commonLabels": _labels(single) if single else {"service": "media-processing"},
        "commonAnnotations": _annotations(single) if single else {},
        "externalURL": alerts[0].run_url,
        "alerts": [
            {
                "status": "firing",
                "labels": _labels(alert),
                "annotations": _annotations(alert),
                "startsAt": _time(alert.started_at),
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": alert.run_url,
                "fingerprint": alert.fingerprint,
            }
            for alert in alerts
        ],
    }


class WebhookAlertSink:
    """`AlertSink` over HTTP; the receivers are those whose address is set."""

    def __init__(self, settings: AlertSettings) -> None:
        self._settings = settings
        known: Mapping[str, tuple[Any, Payload]] = {
            "slack": (settings.slack_webhook_url, slack_payload),
            "alertmanager": (settings.alertmanager_url, alertmanager_payload),
            "webhook": (settings.webhook_url, webhook_payload),
        }
        self._receivers = {
            name: (url, payload) for name, (url, payload) in known.items() if url is not None
        }

    @property
    def receivers(self) -> Sequence[str]:
        """See `AlertSink.receivers`."""
        return list(self._receivers)

    def send(self, receiver: str, alerts: Sequence[Alert]) -> None:
        """See `AlertSink.send`."""
        if not alerts:
            return
        url, payload = self._receivers[receiver]
        body = payload(alerts, self._settings)
        with_retries(
            lambda: self._post(receiver, url.get_secret_value(), body),
            tries=_TRIES,
            total_seconds=_TOTAL_SECONDS,
        )

    def _post(self, receiver: str, url: str, body: Any) -> None:
        import requests  # kept out of definitions' import

        try:
            answer = requests.post(
                url,
                json=body,
                timeout=(_CONNECT_SECONDS, self._settings.timeout_seconds),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            # Not chained: requests' errors quote the address.
            raise TransientError(
                f"the alert receiver {receiver} did not answer: {type(error).__name__}.",
                remedy="check that it is up and reachable from the daemon; it is tried again.",
                code="alert_undelivered",
            ) from None
        if answer.ok and not answer.is_redirect:
            return
        if answer.status_code >= _SERVER_ERROR or answer.status_code in _TRY_AGAIN:
            raise TransientError(
                f"the alert receiver {receiver} answered {answer.status_code}.",
                remedy="check its health; it is tried again.",
                code="alert_undelivered",
            )
        raise PermanentError(
            f"the alert receiver {receiver} answered {answer.status_code}.",
            remedy="check that its webhook address is current and takes this format.",
            code="alert_refused",
        )


class AlertSinkResource(dg.ConfigurableResource[AlertSink]):
    """Reads settings when a tick starts, so that no address is in Dagster's config."""

    def create_resource(self, context: dg.InitResourceContext) -> AlertSink:
        return WebhookAlertSink(load_settings().alerts)


def _attachment(alert: Alert) -> dict[str, Any]:
    lines = [_slack(alert.description), f"*Remedy:* {_slack(alert.remedy)}"]
    if alert.asset_ids:
        lines.append(f"*Media assets, some:* {_slack(', '.join(alert.asset_ids))}")
    links = [
        f"<{_slack(url)}|{name}>"
        for name, url in (("Dagster", alert.run_url), ("runbook", alert.runbook_url))
        if url
    ]
    lines.append(" - ".join([*links, f"fingerprint {alert.fingerprint}"]))
    return {
        "color": "danger" if alert.severity == "page" else "warning",
        "title": _slack(f"[{alert.severity}] {alert.summary}"),
        "text": "\n".join(lines),
        "mrkdwn_in": ["text"],
        "ts": int(alert.started_at),
    }


def _labels(alert: Alert) -> dict[str, str]:
    return {
        "alertname": alert.name,
        "severity": alert.severity,
        "service": "media-processing",
        "fingerprint": alert.fingerprint,
        **alert.labels,
    }


def _annotations(alert: Alert) -> dict[str, str]:
    given = {
        "summary": alert.summary,
        "description": alert.description,
        "remedy": alert.remedy,
        "occurrences": str(alert.occurrences),
        "asset_ids": ", ".join(alert.asset_ids),
        "runbook_url": alert.runbook_url,
        "run_url": alert.run_url,
    }
    return {name: redact(value)[:_MAX_TEXT] for name, value in given.items() if value}


def _slack(text: str) -> str:
    """Slack's three special characters escaped: a message must not mention a channel."""
    cut = redact(text)[:_MAX_TEXT]
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
