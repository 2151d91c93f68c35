"""`Results`: what one run found out about the media assets of its batch."""

from __future__ import annotations

from media_pipeline.domain.ports import AssetResult


class Results(list[AssetResult]):
    """One `AssetResult` per claimed media asset; the value handed to the metadata IO manager."""
