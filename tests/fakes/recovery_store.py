"""`RecoveryStore` over the ledger in memory: the same counts, pauses and states as the SQL."""

from dataclasses import dataclass

from media_pipeline.domain.recovery import Breaker, Controls, Flag, Loss, Waiting
from tests.fakes.metadata_store import UNFINISHED, FakeMetadataStore


@dataclass
class _Breaker:
    state: str
    message: str
    run_id: str
    trips: int
    opened_at: float
    retry_at: float
    changed_at: float


class FakeRecoveryStore:
    def __init__(self, ledger: FakeMetadataStore) -> None:
        self.ledger = ledger
        self.flags: list[Flag] = []
        self.breakers: dict[str, _Breaker] = {}
        self.told: set[str] = set()
        self.marks: set[tuple[str, str, str, int]] = set()
        ledger.watchers.append(self._recorded)

    @property
    def _now(self):
        return self.ledger.clock()

    def controls(self):
        newest = {flag.name: flag for flag in self.flags}
        open_ones = tuple(
            Breaker(code, one.state, one.message, one.run_id, one.trips, one.opened_at,
                    one.retry_at - self._now)
            for code, one in sorted(self.breakers.items()) if one.state != "closed"
        )  # fmt: skip
        return Controls(tuple(newest[name] for name in sorted(newest)), open_ones)

    def set_flag(self, name, value, *, reason, who):
        self.flags.append(Flag(name, value, reason, who, self._now))

    def trip(self, trips):
        news = 0
        for one in trips:
            if one.run_id in self.told:
                continue
            self.told.add(one.run_id)
            news += 1
            known = self.breakers.get(one.code)
            if known is not None and known.state == "open":
                known.message, known.run_id, known.changed_at = one.message, one.run_id, self._now
                continue
            recent = known is not None and known.changed_at >= self._now - 3600
            count = known.trips + 1 if recent else 1
            self.breakers[one.code] = _Breaker(
                "open", one.message, one.run_id, count, self._now, self._now + _pause(count),
                self._now,
            )  # fmt: skip
        return news

    def probed(self, *, passed, said=""):
        for one in self.breakers.values():
            if one.state == "open" and one.retry_at <= self._now:
                one.state = "half_open" if passed else "open"
                one.message = one.message if passed else said
                one.retry_at, one.changed_at = self._now + _pause(one.trips), self._now

    def _recorded(self, row):
        if row.status in ("complete", "partial", "dead_lettered"):
            for one in self.breakers.values():
                if one.state == "half_open":
                    one.state, one.changed_at = "closed", self._now

    def losses(self, run_id, asset_ids):
        found = []
        for (asset_id, version), row in self.ledger.rows.items():
            if asset_id in asset_ids and row.run_id == run_id and row.lost_attempts:
                marks: dict[str, int] = {}
                for asset, of_version, kind, fence in self.marks:
                    recorded = row.recorded_fence or 0
                    if (asset, of_version) == (asset_id, version) and recorded < fence < row.fence:
                        marks[kind] = marks.get(kind, 0) + 1
                found.append(Loss(asset_id, version, row.lost_attempts, marks))
        return found

    def enter_cage(self, asset_id, content_version, kind, fence):
        self.marks.add((asset_id, content_version, kind, fence))

    def leave_cage(self, asset_id, content_version, kind, fence):
        self.marks.discard((asset_id, content_version, kind, fence))

    def hold(self, versions, scope):
        held = 0
        for key in versions:
            row = self.ledger.rows.get(key)
            if row is not None and row.status == "registered":
                row.held_for = scope
                held += 1
        return held

    def waiting(self, paused_scopes, grace_seconds, limit):
        found = []
        for (asset_id, version), row in self.ledger.rows.items():
            if row.status not in UNFINISHED:
                continue
            if row.held_for is None:
                touched = max(row.waiting_since, row.claimed_at or 0)
                ready = touched < self._now - grace_seconds
            else:
                ready = row.held_for not in paused_scopes
            if ready:
                found.append(
                    Waiting(
                        asset_id, version, row.status, row.attempts, row.lost_attempts, row.fence,
                        row.run_id, row.root_run_id, row.arrival.asset.priority,
                        row.held_for is not None, row.waiting_since, row.claimed_at,
                    )
                )  # fmt: skip
        return found[:limit]


def _pause(trips):
    return min(30 * 2 ** (trips - 1), 1800)
