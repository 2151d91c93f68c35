"""The broker, our login, and the three topics."""

from __future__ import annotations

from media_pipeline.domain.ports import EventSource
from media_pipeline.errors import MediaPipelineError
from media_pipeline.settings import Settings
from resources.doctor.finding import Finding, of_error, ok


def check_event_log(settings: Settings, source: EventSource) -> list[Finding]:
    """Metadata and offsets of each topic: needs Describe and Read, changes nothing."""
    kafka = settings.kafka
    found = _transport(settings)
    for topic in (kafka.ingested_topic, kafka.enriched_topic, kafka.dead_letter_topic):
        try:
            spans = source.spans(topic)
        except MediaPipelineError as error:
            found.append(of_error(f"topic {topic}", error))
            if error.code in ("event_log_unavailable", "credentials_refused"):
                break  # the next one would only take as long to say the same
            continue
        size = sum(span.size for span in spans.values())
        found.append(ok(f"topic {topic}", f"{len(spans)} Kafka partitions, {size} records."))
    return found


def _transport(settings: Settings) -> list[Finding]:
    kafka = settings.kafka
    clear = kafka.security_protocol == "SASL_PLAINTEXT"
    if clear and kafka.sasl_mechanism in ("PLAIN", "OAUTHBEARER"):
        return [
            Finding(
                "event log",
                "warning",
                f"{kafka.sasl_mechanism} over {kafka.security_protocol} sends the secret in clear.",
                "secret_in_clear",
                "use SASL_SSL.",
            )
        ]
    return []
