"""`ReplayStore` over the ledger in memory: the same choices as migration 0030."""

import time
from dataclasses import replace

from media_pipeline.domain.replays import (
    ENDED,
    Candidate,
    CandidatePage,
    ItemEnd,
    KnownState,
    Replay,
)
from tests.fakes.metadata_store import UNFINISHED, FakeMetadataStore


class FakeReplayStore:
    def __init__(self, ledger: FakeMetadataStore) -> None:
        self.ledger = ledger
        self.rows: dict[str, Replay] = {}
        self.items: dict[str, dict[tuple[str, str], tuple[int, int, tuple]]] = {}
        self.ended: set[str] = set()

    def states(self, arrivals, replay_id, idle_seconds):
        return [self._state(one, replay_id, idle_seconds) for one in arrivals]

    def _state(self, arrival, replay_id, idle):
        key = (arrival.asset.asset_id, arrival.asset.content_version)
        row = self.ledger.rows.get(key)
        others = [r for k, r in self.ledger.rows.items() if k[0] == key[0] and k != key]
        if row is None:
            newer = any(_later(one.arrival.record, arrival.record) for one in others)
            return KnownState("superseded" if newer else "missing")
        busy = self._busy(key, row, replay_id, idle)
        if row.status in ENDED and any(one.sequence > row.sequence for one in others):
            return KnownState("superseded", busy)
        return KnownState(row.status, busy)

    def _busy(self, key, row, own, idle):
        for replay_id, items in self.items.items():
            open_ = replay_id not in self.ended and replay_id != own
            if open_ and key in items and items[key][1] >= (row.recorded_fence or 0):
                return f"replay {replay_id}"
        if row.status in UNFINISHED and row.touched_at > time.time() - idle:
            return f"run {row.run_id}" if row.run_id else "the sensor"
        return None

    def candidates(self, wanted, after, scan, replay_id, idle_seconds):
        known = sorted({asset_id for asset_id, _ in self.ledger.rows})
        if wanted.assets:
            known = [one for one in known if one in wanted.assets]
        looked_at = [one for one in known if one > (after or "")][:scan]
        found = []
        for asset_id in looked_at:
            rows = {k: r for k, r in self.ledger.rows.items() if k[0] == asset_id}
            key, row = min(rows.items(), key=lambda one: _claim_rank(one[1]))
            if _meant(wanted, row):
                busy = self._busy(key, row, replay_id, idle_seconds)
                found.append(Candidate(*key, row.status, busy))
        return CandidatePage(tuple(found), looked_at[-1] if len(looked_at) == scan else None)

    def begin(self, replay_id, source, wanted, who, host, place):
        if replay_id not in self.rows:
            self.rows[replay_id] = Replay(
                replay_id, source, dict(wanted), who, host, dict(place), {},
                "2026-01-01T00:00:00.000Z", was_read=False, items=0, ended=0, portions=0,
                backfills={},
            )  # fmt: skip
            self.items[replay_id] = {}

    def note(self, replay_id, portion):
        self.ledger.register(portion.arrivals)
        items = self.items[replay_id]
        backfills = dict(self.rows[replay_id].backfills)
        if portion.versions:
            backfills.setdefault(portion.number, None)
        for key in portion.versions:
            row = self.ledger.rows.get(key)
            if row is not None and key not in items:
                before = tuple(d for _, d in sorted(row.derivatives.items()))
                items[key] = (portion.number, row.recorded_fence or 0, before)
        self.rows[replay_id] = replace(
            self.rows[replay_id], place=dict(portion.place), counts=dict(portion.counts),
            was_read=portion.complete, backfills=backfills,
        )  # fmt: skip
        return self.assets_of(replay_id, portion.number)

    def launched(self, replay_id, number, backfill_id):
        row = self.rows[replay_id]
        self.rows[replay_id] = replace(row, backfills={**row.backfills, number: backfill_id})

    def replays(self, replay_id, limit):
        chosen = [one for one in reversed(self.rows.values()) if replay_id in (None, one.replay_id)]
        return [
            replace(
                one, items=len(self.items[one.replay_id]),
                ended=sum(e.ended or (e.superseded and e.status in ENDED)
                          for e in self.ends(one.replay_id, None, 10**9)),
                portions=max(one.backfills, default=-1) + 1,
            )
            for one in chosen[:limit]
        ]  # fmt: skip

    def assets_of(self, replay_id, number):
        return sorted(key[0] for key, item in self.items[replay_id].items() if item[0] == number)

    def ends(self, replay_id, after, limit):
        found = []
        for key in sorted(self.items[replay_id]):
            if after is not None and key <= after:
                continue
            _, fence, before = self.items[replay_id][key]
            row = self.ledger.rows[key]
            newer = any(
                k[0] == key[0] and r.sequence > row.sequence for k, r in self.ledger.rows.items()
            )
            ended = row.status in ENDED and (row.recorded_fence or 0) > fence
            now = tuple(d for _, d in sorted(row.derivatives.items()))
            found.append(ItemEnd(*key, row.status, ended, newer, before, now))
        return found[:limit]

    def end(self, replay_id, proof):
        self.rows[replay_id] = replace(self.rows[replay_id], proof=dict(proof))
        self.ended.add(replay_id)


def _later(known, record):
    if (known.topic, known.partition) == (record.topic, record.partition):
        return known.offset > record.offset
    return known.timestamp_ms > record.timestamp_ms


def _claim_rank(row):
    waits = {"registered": 0, "retry": 0, "claimed": 1}.get(row.status, 2)
    return waits, row.sequence if row.status in UNFINISHED else -row.sequence


def _meant(wanted, row):
    kinds = row.derivatives
    return (
        (not wanted.statuses or row.status in wanted.statuses)
        and (not wanted.outcomes or any(d.code in wanted.outcomes for d in kinds.values()))
        and (not wanted.kinds_missing or any(kind not in kinds for kind in wanted.kinds_missing))
        and (
            not wanted.stale
            or any(k not in kinds or kinds[k].fingerprint != f for k, f in wanted.stale.items())
        )
    )
