"""Whether what runs need is there: one cheap question to each dependency."""
# No postponed annotations: Dagster reads ResourceDependency from the real ones.

import dagster as dg

from media_pipeline.domain.ports import MetadataStore, ObjectStore


class DependenciesResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only for factories
    """`DependencyProbe` over the ledger and the object store."""

    object_store: dg.ResourceDependency[ObjectStore]
    metadata_store: dg.ResourceDependency[MetadataStore]

    def probe(self) -> None:
        """See `DependencyProbe.probe`."""
        self.metadata_store.probe()
        self.object_store.probe()
