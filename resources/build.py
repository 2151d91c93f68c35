"""All adapters from settings, without Dagster: for the command line, which starts in a third of
the time without it. As Dagster resources: `resources.dagster_resources`.
"""

from __future__ import annotations

from media_pipeline.settings import Settings
from resources.credentials import credential_source
from resources.dead_letter_payloads import OffloadingEventSink
from resources.dead_letter_store import PostgrestDeadLetterStore
from resources.event_log import KafkaEventSource
from resources.event_sink import KafkaEventSink
from resources.ledger_audit import PostgrestLedgerAudit
from resources.ledger_figures import PostgrestFigures
from resources.metadata_store import PostgrestMetadataStore
from resources.object_store import (
    S3ObjectStore,
)
from resources.operations_ledger import PostgrestOperationsLedger
from resources.postgrest_client import PostgrestClient
from resources.recovery_store import PostgrestRecoveryStore
from resources.replay_store import PostgrestReplayStore
from resources.sample_store import PostgrestSampleStore


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
