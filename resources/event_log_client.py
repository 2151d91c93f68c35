"""What reading from and writing to the event log share: connection options, errors of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from media_pipeline.domain.ports import CredentialSource
from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.settings import KafkaSettings


def client_options(settings: KafkaSettings, credentials: CredentialSource) -> dict[str, Any]:
    """Connection options that consumer, producer and admin share. Holds secrets: never log it."""
    bound = int(settings.request_timeout_seconds * 1000)
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers.split(","),
        "security_protocol": settings.security_protocol,
        "request_timeout_ms": bound,
        "bootstrap_timeout_ms": bound,
        "client_id": settings.group_id,
    }
    if settings.ssl_cafile:
        options["ssl_cafile"] = settings.ssl_cafile
    if settings.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = credentials.secret("kafka_password")
    return options


@contextlib.contextmanager
def taxonomy(doing: str, settings: KafkaSettings) -> Iterator[None]:
    """Library errors to ours: refused is systemic, everything retriable is transient."""
    from kafka import errors  # kept out of definitions' import

    refused = (
        errors.SaslAuthenticationFailedError,
        errors.TopicAuthorizationFailedError,
        errors.GroupAuthorizationFailedError,
        errors.ClusterAuthorizationFailedError,
        errors.UnknownTopicOrPartitionError,
        errors.UnsupportedVersionError,
    )
    try:
        yield
    except refused as error:
        raise SystemicError(
            f"the broker refused {doing}: {type(error).__name__} {error}",
            remedy="check the topic's existence, ACLs and the SASL credentials.",
            code="event_log_refused",
        ) from error
    except (errors.KafkaError, OSError) as error:
        raise TransientError(
            f"{doing} at {settings.bootstrap_servers} failed: {type(error).__name__} {error}",
            remedy="check that the brokers are up and reachable; it is tried again.",
            code="event_log_unavailable",
        ) from error
