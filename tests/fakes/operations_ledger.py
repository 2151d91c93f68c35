"""What operators ask, answered from the ledger in memory."""

import time

from tests.fakes.metadata_store import UNFINISHED, FakeMetadataStore


class FakeOperationsLedger:
    def __init__(self, ledger: FakeMetadataStore) -> None:
        self.ledger = ledger

    def retirable(self, asset_ids, *, idle_seconds):
        before = time.time() - idle_seconds
        found = []
        for asset_id in asset_ids:
            rows = [row for key, row in self.ledger.rows.items() if key[0] == asset_id]
            ended = all(row.status not in UNFINISHED for row in rows)
            if rows and ended and max(row.touched_at for row in rows) < before:
                found.append(asset_id)
        return found
