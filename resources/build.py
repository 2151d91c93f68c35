"""All adapters from settings: as Dagster resources, and plain for the command line.

No secret passes through Dagster's configuration: `CredentialsResource` reads it at run
time, from Vault or from the environment.
"""

from __future__ import annotations

from typing import Any

from media_pipeline import crash_points
from media_pipeline.settings import Settings
from resources.alert_webhooks import AlertSinkResource
from resources.batch import BatchResource
from resources.credentials import CredentialsResource, credential_source
from resources.dead_letter_payloads import OffloadingEventSink, OffloadingEventSinkResource
from resources.dead_letter_resource import DeadLetterStoreResource
from resources.dead_letter_store import PostgrestDeadLetterStore
from resources.dependencies import DependenciesResource
from resources.event_log import KafkaEventSource
from resources.event_log_resources import (
    KAFKA_RESOURCE_FIELDS,
    EventSinkResource,
    EventSourceResource,
)
from resources.event_sink import KafkaEventSink
from resources.io_managers.metadata import MetadataIOManager
from resources.io_managers.object_store import ObjectStoreIOManager
from resources.ledger_audit import LedgerAuditResource, PostgrestLedgerAudit
from resources.ledger_figures import PostgrestFigures
from resources.metadata_store import MetadataStoreResource, PostgrestMetadataStore
from resources.object_store import (
    OBJECT_STORE_RESOURCE_FIELDS,
    ObjectStoreResource,
    S3ObjectStore,
)
from resources.operations_ledger import OperationsLedgerResource, PostgrestOperationsLedger
from resources.postgrest_client import PostgrestClient
from resources.recovery_store import PostgrestRecoveryStore, RecoveryStoreResource
from resources.replay_store import PostgrestReplayStore
from resources.sample_store import PostgrestSampleStore
from resources.traces import TracesResource


def build_resources(settings: Settings) -> dict[str, Any]:
    """Resource key -> Dagster resource, for `Definitions`."""
    crash_points.arm(settings.crash_at)
    credentials = CredentialsResource()
    kafka = {name: getattr(settings.kafka, name) for name in KAFKA_RESOURCE_FIELDS}
    store = {name: getattr(settings.object_store, name) for name in OBJECT_STORE_RESOURCE_FIELDS}
    object_store = ObjectStoreResource(
        credentials=credentials, **{**store, "allowed_buckets": list(store["allowed_buckets"])}
    )
    address: dict[str, Any] = {
        "url": settings.ledger.url,
        "schema_name": settings.ledger.schema_name,
        "timeout_seconds": settings.ledger.timeout_seconds,
    }
    ledger = {**address, "page_rows": settings.ledger.page_rows}
    metadata_store = MetadataStoreResource(
        credentials=credentials, **ledger, image_digest=settings.image_digest
    )
    batch = BatchResource.configure_at_launch()
    return {
        "batch": batch,
        "credentials": credentials,
        "traces": TracesResource(),
        "object_store": object_store,
        "metadata_store": metadata_store,
        "dead_letter_store": DeadLetterStoreResource(
            credentials=credentials,
            url=settings.ledger.url,
            schema_name=settings.ledger.schema_name,
            timeout_seconds=settings.ledger.timeout_seconds,
        ),
        "ledger_audit": LedgerAuditResource(credentials=credentials, **address),
        "operations_ledger": OperationsLedgerResource(credentials=credentials, **ledger),
        "recovery_store": RecoveryStoreResource(credentials=credentials, **address),
        "dependencies": DependenciesResource(
            object_store=object_store, metadata_store=metadata_store
        ),
        "event_source": EventSourceResource(credentials=credentials, **kafka),
        "event_sink": OffloadingEventSinkResource(
            sink=EventSinkResource(credentials=credentials, **kafka),
            object_store=object_store,
            dead_letter_topic=settings.kafka.dead_letter_topic,
        ),
        "object_store_io_manager": ObjectStoreIOManager(
            object_store=object_store,
            batch=batch,
            transfer_threads=settings.object_store.transfer_threads,
        ),
        "alert_sink": AlertSinkResource(),
        "metadata_io_manager": MetadataIOManager(metadata_store=metadata_store, batch=batch),
    }


def build_object_store(settings: Settings) -> S3ObjectStore:
    """The object store without Dagster."""
    return S3ObjectStore(settings.object_store, credential_source(settings))


def build_metadata_store(settings: Settings) -> PostgrestMetadataStore:
    """The ledger without Dagster."""
    return PostgrestMetadataStore(
        build_postgrest_client(settings),
        page_rows=settings.ledger.page_rows,
        image_digest=settings.image_digest,
    )


def build_operations_ledger(settings: Settings) -> PostgrestOperationsLedger:
    """Figures of the ledger for operators, without Dagster."""
    return PostgrestOperationsLedger(
        build_postgrest_client(settings), page_rows=settings.ledger.page_rows
    )


def build_recovery_store(settings: Settings) -> PostgrestRecoveryStore:
    """What the ledger remembers of pauses, breakers and losses, without Dagster."""
    return PostgrestRecoveryStore(build_postgrest_client(settings))


def build_sample_store(settings: Settings) -> PostgrestSampleStore:
    """Samples of the ledger."""
    return PostgrestSampleStore(build_postgrest_client(settings))


def build_postgrest_client(settings: Settings) -> PostgrestClient:
    """A client of the ledger's PostgREST, without Dagster."""
    return PostgrestClient(
        settings.ledger.url,
        credential_source(settings),
        schema=settings.ledger.schema_name,
        timeout_seconds=settings.ledger.timeout_seconds,
    )


def build_dead_letter_store(settings: Settings) -> PostgrestDeadLetterStore:
    """The ledger's dead letters without Dagster."""
    return PostgrestDeadLetterStore(build_postgrest_client(settings))


def build_replay_store(settings: Settings) -> PostgrestReplayStore:
    """Replays in the ledger, without Dagster."""
    return PostgrestReplayStore(build_postgrest_client(settings))


def build_ledger_audit(settings: Settings) -> PostgrestLedgerAudit:
    """The ledger as a reconciliation reads it, without Dagster."""
    return PostgrestLedgerAudit(build_postgrest_client(settings))


def build_event_source(settings: Settings) -> KafkaEventSource:
    """The event log's reading side without Dagster."""
    return KafkaEventSource(settings.kafka, credential_source(settings))


def build_lag_source(settings: Settings) -> KafkaEventSource:
    """For looking at positions alone: fetches the least that a broker sends."""
    return KafkaEventSource(settings.kafka, credential_source(settings), max_partition_bytes=1024)


def build_figure_store(settings: Settings) -> PostgrestFigures:
    """The ledger's figures for monitoring."""
    return PostgrestFigures(build_postgrest_client(settings))


def build_event_sink(settings: Settings) -> KafkaEventSink:
    """The event log's writing side without Dagster."""
    return KafkaEventSink(settings.kafka, credential_source(settings))


def build_outbox_sink(settings: Settings) -> OffloadingEventSink:
    """What the outbox relay publishes to, without Dagster."""
    return OffloadingEventSink(
        build_event_sink(settings), build_object_store(settings), settings.kafka.dead_letter_topic
    )
