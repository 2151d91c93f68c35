"""`DeadLetterStore` over the ledger in memory: the same states, history, races and leases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from media_pipeline.domain.dead_letters import HistoryEntry, Lease, Letter, Pause, VersionState
from tests.fakes.metadata_store import FakeMetadataStore


class FakeDeadLetterStore:
    def __init__(self, ledger: FakeMetadataStore) -> None:
        self.ledger = ledger
        self.actions: dict[str, object] = {}
        self.leases: dict[str, dict] = {}
        self.flags: list[Pause] = []
        self.clock = lambda: datetime.now(UTC)

    def letters(self, wanted, after, limit):
        found = []
        for dlq_id, kept in self.ledger.letters.items():
            letter = self._letter(dlq_id, kept)
            headers = dict(kept["record"].headers)
            of_replay = headers.get("replay.id", b"").decode() == wanted.replay_id
            if wanted.matches(letter) and (wanted.replay_id is None or of_replay):
                found.append(letter)
        found.sort(key=lambda one: (one.topic, one.partition, one.offset, one.dlq_id))
        if after is not None:
            last = self._letter(after, self.ledger.letters[after])
            mark = (last.topic, last.partition, last.offset, last.dlq_id)
            found = [o for o in found if (o.topic, o.partition, o.offset, o.dlq_id) > mark]
        return found[:limit]

    def records(self, dlq_ids):
        letters = self.ledger.letters
        return {one: letters[one]["record"] for one in dlq_ids if one in letters}

    def history(self, dlq_id):
        kept = self.ledger.letters.get(dlq_id)
        return [HistoryEntry(**entry) for entry in kept["history"]] if kept else []

    def act(self, action, letters):
        self.actions.setdefault(action.action_id, action)
        moved = []
        for letter in letters:
            kept = self.ledger.letters.get(letter.dlq_id)
            noted = kept and any(e.get("action_id") == action.action_id for e in kept["history"])
            if kept is None or noted:
                continue
            may = {
                "validate": kept["state"] == "open",
                "replay": True,
                "discard": kept["state"] in ("open", "validated"),
            }[action.action] and kept["replay_count"] == letter.replay_count
            if may:
                kept["state"] = {"validate": "validated", "replay": "replayed"}.get(
                    action.action, "discarded"
                )
                kept["replay_count"] += action.action == "replay"
                moved.append(letter.dlq_id)
            if may or action.action == "replay":
                kept["history"].append(
                    {
                        "at": _iso(self.clock()), "what": action.action, "state": kept["state"],
                        "replay_count": kept["replay_count"], "action_id": action.action_id,
                        "who": action.who, "host": action.host, "reason": action.reason,
                        "wanted": dict(action.wanted),
                    }
                )  # fmt: skip
        return sorted(moved)

    def versions(self, versions):
        return [
            VersionState(
                *key,
                self.ledger.rows[key].status,
                self.ledger.rows[key].recorded_fence or 0,
                tuple(d for _, d in sorted(self.ledger.rows[key].derivatives.items())),
            )
            for key in sorted(set(versions))
            if key in self.ledger.rows
        ]

    def take_lease(self, name, token, holder, host, seconds):
        now = self.clock()
        held = self.leases.get(name)
        if held is None or held["token"] == token or held["expires"] <= now:
            since = held["since"] if held and held["token"] == token else now
            held = {"token": token, "holder": holder, "host": host, "since": since}
            held["expires"] = now + timedelta(seconds=seconds)
            self.leases[name] = held
        return Lease(
            held["token"] == token, held["holder"], held["host"], _iso(held["since"]),
            _iso(held["expires"]),
        )  # fmt: skip

    def release_lease(self, name, token):
        if name in self.leases and self.leases[name]["token"] == token:
            del self.leases[name]

    def pause(self):
        return self.flags[-1] if self.flags else None

    def _letter(self, dlq_id, kept):
        record, asset = kept["record"], kept["asset"]
        letter = Letter(
            dlq_id=dlq_id, stage=kept["stage"], code=kept["code"], message=kept["message"],
            topic=record.topic, partition=record.partition, offset=record.offset,
            timestamp_ms=record.timestamp_ms, first_failed_at=kept["first"],
            last_failed_at=kept["last"], attempts=kept["attempts"],
            record_bytes=len(record.value or b""), run_id=kept["run_id"], state=kept["state"],
            replay_count=kept["replay_count"],
        )  # fmt: skip
        if asset is None:
            return letter
        own = self.ledger.rows[asset].sequence
        newer = any(
            key[0] == asset[0] and row.sequence > own and row.status in ("complete", "partial")
            for key, row in self.ledger.rows.items()
        )
        return replace(letter, asset_id=asset[0], content_version=asset[1], superseded=newer)


def _iso(moment):
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
