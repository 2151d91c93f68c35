"""`SampleStore` over the ledger in memory, in the order of the same hash."""

import hashlib

from media_pipeline.domain.outcome import Code
from media_pipeline.domain.samples import SampledMedia
from tests.fakes.metadata_store import FakeMetadataStore


class FakeSampleStore:
    def __init__(self, ledger: FakeMetadataStore) -> None:
        self._ledger = ledger

    def population(self, kind):
        return len(self._all(kind, ""))

    def page(self, kind, seed, after_rank, limit):
        rows = [one for one in self._all(kind, seed) if one.rank > (after_rank or "")]
        return rows[:limit]

    def _all(self, kind, seed):
        newest = {}
        for (asset_id, _), row in self._ledger.rows.items():
            if asset_id not in newest or row.sequence > newest[asset_id].sequence:
                newest[asset_id] = row
        found = []
        for asset_id, row in newest.items():
            derivative = row.derivatives.get(kind)
            if derivative is not None and derivative.code is Code.OK:
                rank = hashlib.md5(f"{seed}:{asset_id}".encode()).hexdigest()  # noqa: S324  # an order
                found.append(
                    SampledMedia(
                        rank, row.arrival.asset, derivative.fingerprint, derivative.attributes
                    )
                )
        return sorted(found, key=lambda one: one.rank)
