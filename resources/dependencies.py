"""Whether what runs need is there: one cheap question to each dependency."""
# No postponed annotations: Dagster reads ResourceDependency from the real ones.

import dagster as dg

from media_pipeline.domain.ports import MetadataStore, ObjectStore
from media_pipeline.errors import SystemicError

#: Said of the one who asks. A sensor of its own role has no business with the object store;
#: whether runs may use it is what the trial batch shows.
_OF_THE_ASKER = ("credentials_refused", "credentials_missing")


class DependenciesResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only for factories
    """`DependencyProbe` over the ledger and the object store."""

    object_store: dg.ResourceDependency[ObjectStore]
    metadata_store: dg.ResourceDependency[MetadataStore]

    def probe(self) -> None:
        """See `DependencyProbe.probe`."""
        self.metadata_store.probe()
        try:
            self.object_store.probe()
        except SystemicError as error:
            if error.code not in _OF_THE_ASKER:
                raise
