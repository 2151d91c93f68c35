"""The ledger behind PostgREST as Dagster resources; the token comes from `credentials`."""
# No postponed annotations: Dagster reads ResourceDependency from the real ones.

from typing import Any

import dagster as dg
from pydantic import Field

from media_pipeline.crash_points import watched
from media_pipeline.domain.dead_letters import DeadLetterStore
from media_pipeline.domain.operations import OperationsLedger
from media_pipeline.domain.ports import CredentialSource
from resources.dead_letter_store import PostgrestDeadLetterStore
from resources.ledger_audit import PostgrestLedgerAudit
from resources.metadata_store import PostgrestMetadataStore
from resources.operations_ledger import PostgrestOperationsLedger
from resources.postgrest_client import PostgrestClient
from resources.recovery_store import PostgrestRecoveryStore


class _LedgerResource(dg.ConfigurableResource[Any]):
    """Where the ledger is, and who is asked for the token at each request."""

    credentials: dg.ResourceDependency[CredentialSource]
    url: str = Field(description="Base address of PostgREST.")
    schema_name: str = Field(default="media", description="Schema that PostgREST exposes.")
    timeout_seconds: float = Field(default=30, description="Bound on one request.")

    def _client(self) -> PostgrestClient:
        return PostgrestClient(
            self.url,
            self.credentials,
            schema=self.schema_name,
            timeout_seconds=self.timeout_seconds,
        )


class MetadataStoreResource(_LedgerResource):
    """`MetadataStore` for Dagster; the token comes from `credentials` at each request."""

    page_rows: int = Field(default=1000, description="Rows of one request.")
    image_digest: str = Field(default="unknown", description="Noted on dead letters.")

    def create_resource(self, context: dg.InitResourceContext) -> PostgrestMetadataStore:
        store = PostgrestMetadataStore(
            self._client(), page_rows=self.page_rows, image_digest=self.image_digest
        )
        return watched(store, "metadata_store")


class DeadLetterStoreResource(_LedgerResource):
    """The ledger's dead letters; the token comes from `credentials` at each request."""

    def create_resource(self, context: dg.InitResourceContext) -> DeadLetterStore:
        return PostgrestDeadLetterStore(self._client())


class RecoveryStoreResource(_LedgerResource):
    """`RecoveryStore` for Dagster; the token comes from `credentials` at each request."""

    def create_resource(self, context: dg.InitResourceContext) -> PostgrestRecoveryStore:
        return watched(PostgrestRecoveryStore(self._client()), "recovery_store")


class LedgerAuditResource(_LedgerResource):
    """`LedgerAudit` for Dagster; the token comes from `credentials` at each request."""

    def create_resource(self, context: dg.InitResourceContext) -> PostgrestLedgerAudit:
        return PostgrestLedgerAudit(self._client())


class OperationsLedgerResource(_LedgerResource):
    """`OperationsLedger` for Dagster; the token comes from `credentials` at each request."""

    page_rows: int = Field(default=1000, description="Rows of one request.")

    def create_resource(self, context: dg.InitResourceContext) -> OperationsLedger:
        return PostgrestOperationsLedger(self._client(), page_rows=self.page_rows)
