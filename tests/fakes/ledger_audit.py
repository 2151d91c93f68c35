"""`LedgerAudit` over the ledger in memory: the same answers as migration 0031."""

import time
from datetime import UTC, datetime

from media_pipeline.domain.reconciliation import AssetEnd, EnrichedVersion, StalledVersion
from tests.fakes.metadata_store import UNFINISHED, FakeMetadataStore


class FakeLedgerAudit:
    def __init__(self, ledger: FakeMetadataStore) -> None:
        self.ledger = ledger
        self.overdue = []

    def accounted(self, messages):
        return [self._how(one) for one in messages]

    def _how(self, message):
        record = message.record
        if message.version in self.ledger.rows:
            return "row"
        if any(
            kept["record"].coordinates == record.coordinates
            for kept in self.ledger.letters.values()
        ):
            return "letter"
        if message.version is None:
            return None
        for key, row in self.ledger.rows.items():
            known = row.arrival.record
            same = (known.topic, known.partition) == (record.topic, record.partition)
            later = (
                known.offset > record.offset if same else known.timestamp_ms > record.timestamp_ms
            )
            if key[0] == message.version[0] and later:
                return "superseded"
        return None

    def enriched(self, since, until, after, limit):
        found = []
        for key, row in self.ledger.rows.items():
            at = _iso(row.touched_at)
            if row.status in ("complete", "partial") and _in(row.touched_at, since, until):
                newest = not any(
                    k[0] == key[0] and r.sequence > row.sequence
                    for k, r in self.ledger.rows.items()
                )
                objects = sorted(
                    part.object_key for d in row.derivatives.values() for part in d.artifacts
                )
                found.append(EnrichedVersion(*key, at, newest, tuple(objects)))
        found.sort(key=_place)
        return [one for one in found if after is None or _place(one) > _place(after)][:limit]

    def stalled(self, since, until, idle_seconds, after, limit):
        found = []
        for key, row in sorted(self.ledger.rows.items()):
            idle = time.time() - row.touched_at
            meant = row.status in UNFINISHED and _in(row.touched_at, since, until)
            if meant and idle >= idle_seconds and (after is None or key > _version(after)):
                found.append(StalledVersion(*key, row.status, idle))
        return found[:limit]

    def known_inputs(self, inputs):
        made = {
            (kind, row.input_digest)
            for one in self.ledger.rows.values()
            for kind, row in one.derivatives.items()
        }
        return set(inputs) & made

    def overdue_events(self, older_seconds, limit):
        return [one for one in self.overdue if one.age >= older_seconds][:limit]

    def ends_of(self, asset_ids):
        found = {}
        for asset_id in asset_ids:
            rows = [row for key, row in self.ledger.rows.items() if key[0] == asset_id]
            ended = [row.touched_at for row in rows if row.status not in UNFINISHED]
            if rows:
                enriched = any(row.status in ("complete", "partial") for row in rows)
                found[asset_id] = AssetEnd(enriched, max(ended, default=None))
        return found


def _iso(moment):
    return datetime.fromtimestamp(moment, UTC).isoformat()


def _in(moment, since, until):
    at = datetime.fromtimestamp(moment, UTC)
    return datetime.fromisoformat(since) <= at < datetime.fromisoformat(until)


def _place(one):
    return one.finished_at, one.asset_id, one.content_version


def _version(one):
    return one.asset_id, one.content_version
