"""Samples behind PostgREST: `SampleStore` on the functions of migration 0005."""

from __future__ import annotations

from media_pipeline.domain.samples import SampledMedia
from resources.metadata_store import media_asset_of
from resources.postgrest_client import PostgrestClient


class PostgrestSampleStore:
    """`SampleStore`; a page is one transaction."""

    def __init__(self, client: PostgrestClient) -> None:
        self._client = client

    def population(self, kind: str) -> int:
        """See `SampleStore.population`."""
        return int(self._client.call("sample_population", {"of_kind": kind}))

    def page(self, kind: str, seed: str, after_rank: str | None, limit: int) -> list[SampledMedia]:
        """See `SampleStore.page`."""
        asked = {"of_kind": kind, "seed": seed, "after_rank": after_rank, "max_rows": limit}
        return [
            SampledMedia(row["rank"], media_asset_of(row), row["fingerprint"], row["attributes"])
            for row in self._client.call("sample_of", asked)
        ]
