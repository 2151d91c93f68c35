"""`DeadLetterStore` for Dagster."""
# No postponed annotations: Dagster reads ResourceDependency from the real ones.

import dagster as dg
from pydantic import Field

from media_pipeline.domain.dead_letters import DeadLetterStore
from media_pipeline.domain.ports import CredentialSource
from resources.dead_letter_store import PostgrestDeadLetterStore
from resources.postgrest_client import PostgrestClient


class DeadLetterStoreResource(dg.ConfigurableResource[DeadLetterStore]):
    """The ledger's dead letters; the token comes from `credentials` at each request."""

    credentials: dg.ResourceDependency[CredentialSource]
    url: str = Field(description="Base address of PostgREST.")
    schema_name: str = Field(default="media", description="Schema that PostgREST exposes.")
    timeout_seconds: float = Field(default=30, description="Bound on one request.")

    def create_resource(self, context: dg.InitResourceContext) -> DeadLetterStore:
        return PostgrestDeadLetterStore(
            PostgrestClient(
                self.url,
                self.credentials,
                schema=self.schema_name,
                timeout_seconds=self.timeout_seconds,
            )
        )
