"""Dead letters as people work with them: values, which ones are meant, and the port.

The port is implemented by `resources.dead_letter_store` and `tests/fakes/dead_letter_store.py`;
one contract suite runs against both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.outcome import Derivative

#: `replayed`: its message went through the intake again; a failure there opens it again.
State = Literal["open", "validated", "replayed", "discarded"]
Action = Literal["validate", "replay", "discard"]
#: What still asks for somebody.
UNSETTLED: tuple[State, ...] = ("open", "validated")


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. Times are ISO 8601 in UTC; `superseded`: a newer content version of the
    media asset is enriched. `record` is the original one, None where it was not asked for."""

    dlq_id: str
    stage: str
    code: str
    message: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    first_failed_at: str
    last_failed_at: str
    asset_id: str | None = None
    content_version: str | None = None
    error_class: str = "permanent"
    attempts: int = 1
    record_bytes: int = 0
    run_id: str | None = None
    state: State = "open"
    replay_count: int = 0
    superseded: bool = False
    record: MessageRecord | None = None

    @property
    def coordinates(self) -> str:
        """`topic/partition/offset` of the original record."""
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant; an empty field excludes nothing.

    `since` and `until` (excluded) are compared with the last failure. `replay_id` is that of
    the replay whose message failed. `fingerprints` are those of
    `media_pipeline.dead_letters.grouping`; stores leave them to their callers.
    """

    ids: frozenset[str] | None = None
    states: tuple[State, ...] = ()
    codes: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    replay_id: str | None = None

    def matches(self, letter: Letter) -> bool:
        """All but `fingerprints` and `replay_id`, which a letter alone does not tell."""
        failed = datetime.fromisoformat(letter.last_failed_at)
        return (
            (self.ids is None or letter.dlq_id in self.ids)
            and (not self.states or letter.state in self.states)
            and (not self.codes or letter.code in self.codes)
            and (not self.stages or letter.stage in self.stages)
            and (not self.assets or letter.asset_id in self.assets)
            and (self.since is None or failed >= self.since)
            and (self.until is None or failed < self.until)
        )

    def described(self) -> dict[str, Any]:
        """For the audit: what was given, JSON-serializable; ids as their number."""
        given: dict[str, Any] = {
            name: list(getattr(self, name))
            for name in ("states", "codes", "stages", "assets", "fingerprints")
            if getattr(self, name)
        }
        for name in ("since", "until"):
            moment = getattr(self, name)
            if moment is not None:
                given[name] = moment.isoformat()
        if self.ids is not None:
            given["ids"] = len(self.ids)
        return given


@dataclass(frozen=True, slots=True)
class LetterAction:
    """What a person does with letters; `wanted` is the filter as it was given."""

    action_id: str
    action: Action
    who: str
    host: str
    wanted: Mapping[str, Any]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of a letter's history; `who` and what follows only for actions of people."""

    at: str
    what: str
    state: str
    replay_count: int
    run_id: str | None = None
    action_id: str | None = None
    who: str | None = None
    host: str | None = None
    reason: str | None = None
    wanted: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Who has a right until when; `granted` says whether it is the asker."""

    granted: bool
    holder: str
    host: str
    since: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class VersionState:
    """How one content version stands in the ledger, with all of its rows.

    `fence` is that of the last recorded outcome: it rises with each run that ends.
    """

    asset_id: str
    content_version: str
    status: str
    fence: int = 0
    derivatives: tuple[Derivative, ...] = ()

    @property
    def ended(self) -> bool:
        return self.status in ("complete", "partial", "dead_lettered")


@dataclass(frozen=True, slots=True)
class Pause:
    """The newest row of the flag `pause`, whatever its value means."""

    value: Any
    reason: str
    who: str
    at: str


class DeadLetterStore(Protocol):
    """Dead letters in the ledger. Raises only errors of `media_pipeline.errors`."""

    def letters(self, wanted: LetterFilter, after: str | None, limit: int) -> list[Letter]:
        """At most `limit` letters without their records, in the order of the original records,
        after the letter with the id `after`."""
        ...

    def records(self, dlq_ids: Sequence[str]) -> dict[str, MessageRecord]:
        """The original records by id, byte for byte; unknown ids are left out."""
        ...

    def history(self, dlq_id: str) -> list[HistoryEntry]:
        """Everything that became of a letter, oldest first."""
        ...

    def act(self, action: LetterAction, letters: Sequence[Letter]) -> list[str]:
        """Note the action and change the state of these letters; answers whose changed.

        A letter that was buried again after it was read, or has ended, keeps its state. The
        same action again changes nothing. Without letters the start of the action is noted.
        """
        ...

    def versions(self, versions: Sequence[tuple[str, str]]) -> list[VersionState]:
        """States of these (asset id, content version); unknown ones are left out."""
        ...

    def take_lease(self, name: str, token: str, holder: str, host: str, seconds: int) -> Lease:
        """Take or renew; answers who holds it now."""
        ...

    def release_lease(self, name: str, token: str) -> None:
        """Give back; harmless when it is somebody else's by now."""
        ...

    def pause(self) -> Pause | None:
        """The newest pause flag, None where there was never one."""
        ...
