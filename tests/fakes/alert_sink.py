"""Receivers in memory, each of which may be down."""

from media_pipeline.domain.alerts import Alert
from media_pipeline.errors import TransientError


class FakeAlertSink:
    def __init__(self, *receivers: str) -> None:
        self.receivers = receivers
        self.got: dict[str, list[Alert]] = {name: [] for name in receivers}
        self.down: set[str] = set()

    def send(self, receiver, alerts):
        if receiver in self.down:
            raise TransientError(f"{receiver} is down", remedy="-", code="alert_undelivered")
        self.got[receiver] += alerts
