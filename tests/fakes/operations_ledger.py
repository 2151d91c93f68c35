"""What operators ask, answered from the ledger in memory."""

import statistics
import time
from collections import Counter
from datetime import UTC, datetime

from media_pipeline.domain.operations import AssetVersion, DayCount, EndedAsset, ScoreHistory
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

    def score_history(self, kind, fingerprint, label, *, days):
        after = time.time() - 86_400 * days
        scores = [
            derivative.attributes["scores"][label]
            for row in self.ledger.rows.values()
            if row.touched_at > after
            for derivative in row.derivatives.values()
            if (derivative.kind, derivative.fingerprint) == (kind, fingerprint)
            and label in derivative.attributes.get("scores", {})
        ]
        mean = statistics.fmean(scores) if scores else None
        deviation = statistics.stdev(scores) if len(scores) > 1 else None
        return ScoreHistory(len(scores), mean, deviation)

    def daily_outcomes(self, days):
        counts, seconds = Counter(), Counter()
        for row in self.ledger.rows.values():
            for derivative in row.derivatives.values():
                day = datetime.fromtimestamp(row.touched_at, UTC).date()
                key = (day, derivative.kind, str(derivative.code))
                counts[key] += 1
                seconds[key] += derivative.seconds
        return [DayCount(*key, counts[key], seconds[key]) for key in sorted(counts)]

    def asset_file(self, asset_id):
        rows = [row for key, row in self.ledger.rows.items() if key[0] == asset_id]
        return [self._version(row) for row in sorted(rows, key=lambda row: -row.sequence)]

    def _version(self, row):
        asset, record = row.arrival.asset, row.arrival.record
        key = (asset.asset_id, asset.content_version)
        letters = [
            {"dlq_id": dlq_id, "stage": one["stage"], "code": one["code"], "state": one["state"]}
            for dlq_id, one in self.ledger.letters.items()
            if one["asset"] == key
        ]
        bad = letters[-1] if row.status == "dead_lettered" else {}
        return AssetVersion(
            *key, status=row.status, stage=bad.get("stage"), code=bad.get("code"), message=None,
            bucket=asset.source.bucket, object_key=asset.source.object_key,
            content_type=asset.source.content_type, size_bytes=row.size_bytes,
            content_digest=None, topic=record.topic, kafka_partition=record.partition,
            kafka_offset=record.offset, priority=asset.priority, attempts=row.attempts,
            fence=row.fence, run_id=row.run_id, created_at="", claimed_at=None,
            finished_at=self._ended(row), letters=letters,
        )  # fmt: skip

    def ended_lately(self, limit):
        rows = [row for row in self.ledger.rows.values() if self._ended(row)]
        rows.sort(key=lambda row: -row.touched_at)
        return [
            EndedAsset(one.asset_id, one.content_version, one.status, one.code, one.finished_at)
            for one in (self._version(row) for row in rows[:limit])
        ]

    def _ended(self, row):
        if row.status in UNFINISHED:
            return None
        return datetime.fromtimestamp(row.touched_at, UTC).isoformat()
