"""Our login to a broker, and the three topics."""

from __future__ import annotations

from media_pipeline.domain.ports import CredentialSource, EventSource
from media_pipeline.errors import MediaPipelineError
from media_pipeline.settings import Settings
from resources.doctor.finding import Finding, failed, of_error, ok
from resources.event_log_client import client_options


def check_event_log(
    settings: Settings, source: EventSource, credentials: CredentialSource
) -> list[Finding]:
    """A login, then metadata and offsets of each topic: needs Describe and Read, changes nothing.

    Topics are left out where nobody lets us in.
    """
    kafka = settings.kafka
    found = [*_transport(settings), _login(settings, credentials)]
    if found[-1].state == "failed":
        return found
    for topic in (kafka.ingested_topic, kafka.enriched_topic, kafka.dead_letter_topic):
        try:
            spans = source.spans(topic)
        except MediaPipelineError as error:
            found.append(of_error(f"topic {topic}", error))
            if error.code == "event_log_unavailable":
                break  # the next one would only take as long to say the same
            continue
        size = sum(span.size for span in spans.values())
        found.append(ok(f"topic {topic}", f"{len(spans)} Kafka partitions, {size} records."))
    return found


def _login(settings: Settings, credentials: CredentialSource) -> Finding:
    from resources.event_log_login import sign_in  # kept out of definitions' import

    name, kafka = "event log login", settings.kafka
    try:
        where = sign_in(kafka, client_options(kafka, credentials))
    except MediaPipelineError as error:
        return of_error(name, error)
    if not where:
        return failed(
            name,
            f"nobody listens at {kafka.bootstrap_servers}.",
            "event_log_unavailable",
            "check that the brokers are up, and MEDIA_PIPELINE_KAFKA__BOOTSTRAP_SERVERS.",
        )
    by = f"{kafka.sasl_mechanism} over " if kafka.security_protocol.startswith("SASL") else ""
    return ok(name, f"{where} lets us in by {by}{kafka.security_protocol}.")


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
