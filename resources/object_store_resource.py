"""The object store as a Dagster resource."""
# No postponed annotations: Dagster reads ResourceDependency from the real ones.

import dagster as dg
from pydantic import Field

from media_pipeline.crash_points import watched
from media_pipeline.domain.ports import CredentialSource, ObjectStore
from media_pipeline.settings import ObjectStoreSettings
from resources.object_store import S3ObjectStore


class ObjectStoreResource(dg.ConfigurableResource[ObjectStore]):
    """`ObjectStore` for Dagster; usable in any project, with any `CredentialSource`."""

    credentials: dg.ResourceDependency[CredentialSource]
    endpoint: str = Field(description="host:port without scheme.")
    secure: bool = Field(default=True, description="TLS.")
    region: str = Field(default="us-east-1", description="Limited keys may not ask for it.")
    allowed_buckets: list[str] = Field(description="Buckets that uploads are read from.")
    derived_bucket: str = Field(description="Bucket that derived media are written to.")
    public_url: str | None = Field(default=None, description="Base of links shown to people.")
    connect_timeout_seconds: float = Field(default=3, description="Bound on connecting.")
    read_timeout_seconds: float = Field(default=30, description="Bound on silence.")
    transfer_threads: int = Field(default=8, description="Connections kept: twice as many.")

    def create_resource(self, context: dg.InitResourceContext) -> S3ObjectStore:
        fields = {name: getattr(self, name) for name in OBJECT_STORE_RESOURCE_FIELDS}
        store = S3ObjectStore(ObjectStoreSettings.model_validate(fields), self.credentials)
        return watched(store, "object_store")


#: Fields of ObjectStoreSettings that the resource takes over as they are.
OBJECT_STORE_RESOURCE_FIELDS = (
    "endpoint", "secure", "region", "allowed_buckets", "derived_bucket", "public_url",
    "connect_timeout_seconds", "read_timeout_seconds", "transfer_threads",
)  # fmt: skip
