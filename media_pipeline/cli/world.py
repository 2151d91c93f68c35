"""The adapters that commands talk through, built from the settings of the moment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from media_pipeline.cli.accounting import Census
from media_pipeline.domain.dead_letters import DeadLetterStore
from media_pipeline.domain.operations import OperationsLedger
from media_pipeline.domain.ports import EventSink, EventSource, MetadataStore, ObjectStore
from media_pipeline.domain.reconciliation import LedgerAudit, StoredObjects
from media_pipeline.domain.recovery import RecoveryStore
from media_pipeline.domain.replays import ReplayStore
from media_pipeline.domain.samples import SampleStore
from media_pipeline.settings import Settings
from resources.build import (
    build_dead_letter_store,
    build_event_sink,
    build_event_source,
    build_ledger_audit,
    build_metadata_store,
    build_object_store,
    build_operations_ledger,
    build_recovery_store,
    build_replay_store,
    build_sample_store,
)
from resources.object_store import S3ObjectStore


@dataclass(frozen=True)
class World:
    """Lazily connected: a command that needs the ledger alone never asks the broker."""

    settings: Settings

    @cached_property
    def object_store(self) -> ObjectStore:
        return self._s3

    @cached_property
    def _s3(self) -> S3ObjectStore:
        return build_object_store(self.settings)

    @property
    def stored_objects(self) -> StoredObjects:
        """The same store, as a reconciliation lists it."""
        return self._s3

    @cached_property
    def metadata_store(self) -> MetadataStore:
        return build_metadata_store(self.settings)

    @cached_property
    def dead_letter_store(self) -> DeadLetterStore:
        return build_dead_letter_store(self.settings)

    @cached_property
    def replay_store(self) -> ReplayStore:
        return build_replay_store(self.settings)

    @cached_property
    def recovery_store(self) -> RecoveryStore:
        return build_recovery_store(self.settings)

    @cached_property
    def operations(self) -> OperationsLedger:
        return build_operations_ledger(self.settings)

    @cached_property
    def ledger_audit(self) -> LedgerAudit:
        return build_ledger_audit(self.settings)

    @cached_property
    def samples(self) -> SampleStore:
        return build_sample_store(self.settings)

    @cached_property
    def event_source(self) -> EventSource:
        return build_event_source(self.settings)

    @cached_property
    def event_sink(self) -> EventSink:
        return build_event_sink(self.settings)

    def topic_size(self, topic: str) -> int:
        """Records in a topic that was never truncated: the sum of its high watermarks.

        High watermarks of a fetch, because some brokers answer ListOffsets wrongly.
        """
        poll = self.event_source.poll(topic, {}, max_records=1, deadline_seconds=10)
        return sum(poll.high_watermarks.values())

    def census(self, positions: dict[int, int]) -> Census:
        """Count everything; `positions` are those of the sensor's cursor."""
        kafka = self.settings.kafka
        counts = self.metadata_store.counts()
        ingested = self.topic_size(kafka.ingested_topic)
        return Census(
            messages=ingested,
            by_status=counts.by_status,
            rejected=counts.rejected,
            enriched_events=self.topic_size(kafka.enriched_topic),
            dead_letters=self.topic_size(kafka.dead_letter_topic),
            objects=len(self.object_store.list_keys("derived/")),
            unpublished=counts.unpublished,
            lag=ingested - sum(positions.values()),
        )
