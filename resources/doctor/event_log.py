"""Our login to a broker, and the three topics."""

from __future__ import annotations

from media_pipeline.domain.failures import of_event_log
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
    from resources.event_log_login import sign_in  # kept out of definitions' import

    kafka, name = settings.kafka, "event log login"
    topics = (kafka.ingested_topic, kafka.enriched_topic, kafka.dead_letter_topic)
    found = _transport(settings)
    try:
        signed_in = sign_in(kafka, client_options(kafka, credentials), topics)
    except MediaPipelineError as error:
        return [*found, of_error(name, error)]
    if not signed_in.where:
        said = f"nobody listens at {kafka.bootstrap_servers}."
        remedy = "check that the brokers are up, and MEDIA_PIPELINE_KAFKA__BOOTSTRAP_SERVERS."
        return [*found, failed(name, said, "event_log_unavailable", remedy)]
    by = f"{kafka.sasl_mechanism} over " if kafka.security_protocol.startswith("SASL") else ""
    said = f"{signed_in.where} lets us in by {by}{kafka.security_protocol}."
    found.append(ok(name, said))
    for topic in topics:
        one = _topic(topic, signed_in.topics.get(topic), source)
        found.append(one)
        if one.code == "event_log_unavailable":
            break  # the next one would only take as long to say the same
    return found


def _topic(topic: str, refusal: str | None, source: EventSource) -> Finding:
    name = f"topic {topic}"
    if refusal == "TopicAuthorizationFailedError":
        failure = of_event_log(refusal)
        said = "no ACL lets this user describe it."
        return failed(name, said, failure.code, failure.remedy)
    try:
        spans = source.spans(topic)
    except MediaPipelineError as error:
        return of_error(name, error)
    size = sum(span.size for span in spans.values())
    return ok(name, f"{len(spans)} Kafka partitions, {size} records.")


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
