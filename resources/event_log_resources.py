"""Both sides of the event log as Dagster resources: the event source and the event sink."""
# No postponed annotations: Dagster reads ResourceDependency from the real ones.

import contextlib
from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from media_pipeline.crash_points import watched
from media_pipeline.domain.ports import CredentialSource, EventSink, ObjectStore
from media_pipeline.settings import KafkaSettings
from resources.dead_letter_payloads import OffloadingEventSink
from resources.event_log import KafkaEventSource
from resources.event_sink import KafkaEventSink


class _KafkaResource(dg.ConfigurableResource[Any]):
    """The fields that reading and publishing share; no secret among them."""

    credentials: dg.ResourceDependency[CredentialSource]
    bootstrap_servers: str = Field(description="host:port list, comma-separated.")
    security_protocol: str = Field(default="PLAINTEXT", description="SASL_SSL in production.")
    sasl_mechanism: str = Field(
        default="SCRAM-SHA-512", description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER."
    )
    sasl_username: str | None = Field(default=None, description="Password: kafka_password.")
    ssl_cafile: str | None = Field(default=None, description="Path of the CA bundle.")
    ssl_certfile: str | None = Field(default=None, description="Our certificate, for mutual TLS.")
    ssl_keyfile: str | None = Field(default=None, description="Path of its private key.")
    ssl_key_encrypted: bool = Field(default=False, description="Password: kafka_key_password.")
    ssl_check_hostname: bool = Field(default=True, description="Broker names are verified.")
    group_id: str = Field(default="media-pipeline", description="Group that mirrors the cursor.")
    request_timeout_seconds: float = Field(default=10, description="Bound on one request.")
    unbatched: bool = Field(default=False, description="Send each record alone.")

    def _source(self) -> CredentialSource:
        return self.credentials

    def _settings(self) -> KafkaSettings:
        return KafkaSettings.model_validate(
            {name: getattr(self, name) for name in KAFKA_RESOURCE_FIELDS}
        )


#: Fields of KafkaSettings that the resources take over as they are.
KAFKA_RESOURCE_FIELDS = (
    "bootstrap_servers", "security_protocol", "sasl_mechanism", "sasl_username", "ssl_cafile",
    "ssl_certfile", "ssl_keyfile", "ssl_key_encrypted", "ssl_check_hostname",
    "group_id", "request_timeout_seconds", "unbatched",
)  # fmt: skip


class EventSourceResource(_KafkaResource):
    """`EventSource` for sensors; its consumer is closed with the tick or run."""

    @contextlib.contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[KafkaEventSource]:
        source = KafkaEventSource(self._settings(), self._source())
        try:
            yield watched(source, "event_source")
        finally:
            source.close()


class EventSinkResource(_KafkaResource):
    """`EventSink` for the outbox relay; its producer is closed with the tick or run."""

    @contextlib.contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[KafkaEventSink]:
        sink = KafkaEventSink(self._settings(), self._source())
        try:
            yield watched(sink, "event_sink")
        finally:
            sink.close()


class OffloadingEventSinkResource(dg.ConfigurableResource[EventSink]):
    """`EventSink` for the outbox relay, with room for dead letters of any size."""

    sink: dg.ResourceDependency[EventSink]
    object_store: dg.ResourceDependency[ObjectStore]
    dead_letter_topic: str = Field(description="Topic whose large payloads are stored apart.")

    def create_resource(self, context: dg.InitResourceContext) -> OffloadingEventSink:
        return OffloadingEventSink(self.sink, self.object_store, self.dead_letter_topic)
