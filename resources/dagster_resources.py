"""All adapters as Dagster resources.

No secret passes through Dagster's configuration: `CredentialsResource` reads it at run
time, from Vault or from the environment.
"""

from __future__ import annotations

from typing import Any

from media_pipeline import crash_points
from media_pipeline.settings import Settings
from resources.alert_webhooks import AlertSinkResource
from resources.batch import BatchResource
from resources.credentials.resource import CredentialsResource
from resources.dependencies import DependenciesResource
from resources.event_log_resources import (
    KAFKA_RESOURCE_FIELDS,
    EventSinkResource,
    EventSourceResource,
    OffloadingEventSinkResource,
)
from resources.io_managers.metadata import MetadataIOManager
from resources.io_managers.object_store import ObjectStoreIOManager
from resources.ledger_resources import (
    DeadLetterStoreResource,
    LedgerAuditResource,
    MetadataStoreResource,
    OperationsLedgerResource,
    RecoveryStoreResource,
)
from resources.object_store_resource import OBJECT_STORE_RESOURCE_FIELDS, ObjectStoreResource
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
        "dead_letter_store": DeadLetterStoreResource(credentials=credentials, **address),
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
