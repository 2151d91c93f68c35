"""All adapters from settings: as Dagster resources, and plain for the command line.

No secret passes through Dagster's configuration: `CredentialsResource` reads it at run
time, from Vault or from the environment.
"""

from __future__ import annotations

from typing import Any

from media_pipeline.domain.ports import EventSink, EventSource, MetadataStore, ObjectStore
from media_pipeline.settings import Settings
from resources.batch import BatchResource
from resources.credentials import CredentialsResource, credential_source
from resources.event_log import (
    EventSinkResource,
    EventSourceResource,
    KafkaEventSink,
    KafkaEventSource,
)
from resources.io_managers.metadata import MetadataIOManager
from resources.io_managers.object_store import ObjectStoreIOManager
from resources.metadata_store import MetadataStoreResource
from resources.object_store import ObjectStoreResource
