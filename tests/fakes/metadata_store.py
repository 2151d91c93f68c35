"""The ledger in memory: the same choices, fences and idempotence as the SQL functions."""

import copy
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from media_pipeline.domain.identity import dead_letter_id
from media_pipeline.domain.ports import (
    Arrival,
    Claim,
    LedgerCounts,
    OutgoingEvent,
    Recorded,
    Registration,
    StaleDerivative,
)
from media_pipeline.errors import SystemicError

DLQ = "media.processing.dlq"
UNFINISHED = ("registered", "claimed", "retry")


@dataclass
class Row:
    arrival: Arrival
    sequence: int
    status: str = "registered"
    attempts: int = 0
    fence: int = 0
    run_id: str | None = None
    root_run_id: str | None = None
    recorded_fence: int | None = None
    size_bytes: int | None = None
    touched_at: float = field(default_factory=time.time)
    lost_attempts: int = 0
    held_for: str | None = None
    waiting_since: float = 0.0
    claimed_at: float | None = None
    derivatives: dict[str, Any] = field(default_factory=dict)


class FakeMetadataStore:
    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self.letters: dict[str, dict] = {}
        self.outbox: dict[str, OutgoingEvent] = {}
        self.published: set[str] = set()
        self.lineage: dict[str, tuple[str, float]] = {}
        #: Called with every row that was recorded: what watches the ledger.
        self.watchers: list[Any] = []
        self.clock = time.time
        self._lock = threading.RLock()

    def register(self, arrivals):
        with self._lock:
            before = set(self.rows)
            answers = []
            for arrival in arrivals:
                asset, record = arrival.asset, arrival.record
                key = (asset.asset_id, asset.content_version)
                self._reopen(key, arrival)
                first = key not in self.rows
                if first:
                    self.rows[key] = Row(
                        copy.deepcopy(arrival), len(self.rows), waiting_since=self.clock()
                    )
                row = self.rows[key]
                same = row.arrival.record.coordinates == record.coordinates
                others = any(one == key[0] and version != key[1] for one, version in before)
                new = key not in before and same
                status = "registered" if key not in before else row.status
                answers.append(Registration(*key, new, others, same, status))
            return answers

    def _reopen(self, key, arrival):
        row = self.rows.get(key)
        replay = _header(arrival.record, "replay.id")
        if row is None or replay is None or row.status != "dead_lettered":
            return
        if _header(row.arrival.record, "replay.id") != replay:
            row.arrival, row.status, row.attempts = copy.deepcopy(arrival), "registered", 0
            row.waiting_since = self.clock()

    def reject(self, messages, pipeline_version):
        with self._lock:
            new = 0
            for message in messages:
                record = message.record
                dlq_id = dead_letter_id(record.coordinates, "", message.stage, message.code)
                if dlq_id not in self.letters:
                    new += 1
                    self._keep_letter(dlq_id, record, message, None, 1, None)
                    self._send_letter(
                        dlq_id, record, message.stage, message.code, message.message, {}
                    )
            return new

    def claim(self, run_id, root_run_id, asset_ids, *, run_created=0.0):
        with self._lock:
            newest, created = self.lineage.get(root_run_id, (run_id, run_created))
            if created > run_created and newest != run_id:
                raise SystemicError(
                    f"run {run_id} was retried as {newest}", remedy="-", code="run_superseded"
                )
            self.lineage[root_run_id] = (run_id, run_created)
            answers = []
            for asset_id in asset_ids:
                rows = [row for key, row in self.rows.items() if key[0] == asset_id]
                if not rows:
                    continue

                def rank(row, run_id=run_id, root_run_id=root_run_id):
                    if row.run_id == run_id:
                        first = 0
                    elif row.root_run_id == root_run_id and row.status in ("claimed", "retry"):
                        first = 1
                    elif row.status in ("registered", "retry"):
                        first = 2
                    else:
                        first = 3 if row.status == "claimed" else 4
                    oldest = row.sequence if row.status in UNFINISHED else -row.sequence
                    return first, oldest

                row = min(rows, key=rank)
                previous = row.status
                if row.run_id != run_id:
                    told = row.attempts == 0 or row.recorded_fence == row.fence
                    row.lost_attempts = 0 if told else row.lost_attempts + 1
                    row.held_for, row.claimed_at = None, self.clock()
                    row.fence += 1
                    row.attempts += 1
                    row.run_id, row.root_run_id = run_id, root_run_id
                    row.touched_at = time.time()
                    if row.status in ("registered", "retry"):
                        row.status = "claimed"
                answers.append(Claim(row.arrival.asset, row.fence, row.attempts, previous))
            return answers

    def record(self, run_id, results, pipeline_version):
        with self._lock:
            return [self._record(run_id, result, pipeline_version) for result in results]

    def _record(self, run_id, result, pipeline_version):
        key = (result.asset_id, result.content_version)
        row = self.rows.get(key)
        if row is None:
            return Recorded(*key, accepted=False, reason="unknown")
        if row.fence != result.fence or row.run_id != run_id:
            return Recorded(*key, accepted=False, reason="stale_fence")
        if row.recorded_fence == result.fence and row.status != "retry":
            return Recorded(*key, accepted=True, reason="ok")
        row.recorded_fence = result.fence
        done_before = row.status in ("complete", "partial")
        row.status = result.verdict.status
        for watcher in self.watchers:
            watcher(row)
        row.size_bytes = result.size_bytes
        row.touched_at = time.time()
        for derivative in result.derivatives:
            row.derivatives[derivative.kind] = derivative
        if result.verdict.status in ("complete", "partial"):
            if result.event:
                self.outbox.setdefault(result.event.event_id, result.event)
            for letter in self.letters.values():
                waits = ("open", "validated") if done_before else ("open", "validated", "replayed")
                if letter["asset"] == key and letter["state"] in waits:
                    letter["state"] = "replayed"
                    _note(letter, "enriched")
        elif result.verdict.status == "dead_lettered" and result.dead_letter:
            letter, record = result.dead_letter, row.arrival.record
            self._keep_letter(letter.dlq_id, record, letter, key, row.attempts, run_id)
            extra = {"asset_id": key[0], "content_version": key[1], "run_id": run_id}
            self._send_letter(
                letter.dlq_id,
                self.letters[letter.dlq_id]["record"],
                letter.stage,
                letter.code,
                letter.message,
                extra,
                row.attempts,
                pipeline_version,
            )
        return Recorded(*key, accepted=True, reason="ok")

    def _keep_letter(self, dlq_id, record, reason, asset, attempts, run_id):
        """A failure met again updates its letter, which keeps its first record."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        known = self.letters.get(dlq_id)
        letter = self.letters[dlq_id] = {
            "state": "open", "replay_count": 0, "history": [], "first": now, "record": record,
            **(known or {}), "asset": asset, "attempts": attempts, "stage": reason.stage,
            "code": reason.code, "message": reason.message, "last": now, "run_id": run_id,
        }  # fmt: skip
        letter["state"] = "discarded" if letter["state"] == "discarded" else "open"
        count = _header(record, "replay.count") or "0"
        count = int(count) if re.fullmatch("[0-9]{1,6}", count) else 0
        letter["replay_count"] = max(letter["replay_count"], count)
        _note(letter, "buried again" if known else "buried")

    def _send_letter(
        self, dlq_id, record, stage, code, message, extra, attempts=1, pipeline_version="0"
    ):
        headers = {
            "dlq.schema": "1",
            "dlq.id": dlq_id,
            **extra,
            "pipeline_version": pipeline_version,
            "orig.topic": record.topic,
            "orig.partition": str(record.partition),
            "orig.offset": str(record.offset),
            "orig.timestamp": str(record.timestamp_ms),
            "error.class": "permanent",
            "error.code": code,
            "error.stage": stage,
            "error.message": message,
            "attempts": str(attempts),
            "first_failed_at": "2026-01-01T00:00:00.000Z",
            "last_failed_at": "2026-01-01T00:00:00.000Z",
            "image.digest": "unknown",
            "replay.count": str(self.letters[dlq_id]["replay_count"]),
        }
        packed = [(name, value.encode()) for name, value in headers.items()]
        packed += [(f"orig.header.{name}", value) for name, value in record.headers]
        count = self.letters[dlq_id]["replay_count"]
        event_id = f"{dlq_id}#{count}" if count else dlq_id
        event = OutgoingEvent(event_id, DLQ, record.key, record.value, tuple(packed))
        self.outbox.setdefault(event_id, event)

    def unpublished(self, limit):
        with self._lock:
            waiting = [one for key, one in self.outbox.items() if key not in self.published]
            return waiting[:limit]

    def mark_published(self, event_ids):
        with self._lock:
            self.published.update(event_ids)

    def derivatives(self, asset_ids):
        found = []
        for asset_id in asset_ids:
            rows = [row for key, row in self.rows.items() if key[0] == asset_id]
            if rows:
                newest = max(rows, key=lambda row: row.sequence)
                found += [newest.derivatives[kind] for kind in sorted(newest.derivatives)]
        return found

    def stale(self, expected, after_asset, limit):
        found, assets = [], set()
        for asset_id in sorted({asset_id for asset_id, _ in self.rows}):
            newest = max(
                (row for key, row in self.rows.items() if key[0] == asset_id),
                key=lambda row: row.sequence,
            )
            if asset_id <= (after_asset or "") or newest.status not in ("complete", "partial"):
                continue
            for kind in sorted(expected):
                row = newest.derivatives.get(kind)
                if row is None or row.fingerprint != expected[kind]:
                    assets.add(asset_id)
                    if len(assets) > limit:
                        return found
                    version = newest.arrival.asset.content_version
                    found.append(
                        StaleDerivative(
                            asset_id, version, kind, row and row.fingerprint, row and row.seconds,
                            newest.size_bytes,
                        )
                    )  # fmt: skip
        return found

    def mean_seconds(self):
        seconds: dict[str, list[float]] = {}
        for row in self.rows.values():
            for kind, derivative in row.derivatives.items():
                seconds.setdefault(kind, []).append(derivative.seconds)
        return {kind: sum(values) / len(values) for kind, values in seconds.items()}

    def counts(self):
        by_status: dict[str, int] = {}
        for row in self.rows.values():
            by_status[row.status] = by_status.get(row.status, 0) + 1
        rejected = sum(letter["asset"] is None for letter in self.letters.values())
        return LedgerCounts(by_status, rejected, len(self.unpublished(10**9)))

    def probe(self) -> None: ...


def _header(record, name):
    return dict(record.headers).get(name, b"").decode("utf-8", "replace") or None


def _note(letter, what):
    entry = {"what": what, "state": letter["state"], "replay_count": letter["replay_count"]}
    run_id = letter["run_id"] if what != "enriched" else None
    letter["history"].append({"at": letter["last"], "run_id": run_id, **entry})
