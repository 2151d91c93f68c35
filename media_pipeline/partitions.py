"""The one partition set: partition key = media asset id."""

from __future__ import annotations

import dagster as dg

from media_pipeline.batch_tags import MEDIA_ASSETS

__all__ = ["MEDIA_ASSETS", "media_assets_partitions"]

media_assets_partitions = dg.DynamicPartitionsDefinition(name=MEDIA_ASSETS)
