"""The one partition set: partition key = media asset id."""

from __future__ import annotations

import dagster as dg

#: Name of the dynamic partition set in the Dagster instance.
MEDIA_ASSETS = "media_asset"

media_assets_partitions = dg.DynamicPartitionsDefinition(name=MEDIA_ASSETS)
