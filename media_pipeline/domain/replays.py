"""Replays of missed events: values, and the port to their rows in the ledger.

The port is implemented by `resources.replay_store` and `tests/fakes/replay_store.py`; one
contract suite runs against both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from media_pipeline.domain.outcome import Derivative
from media_pipeline.domain.ports import Arrival

#: Media asset id and content version.
Version = tuple[str, str]
#: `topic`: messages again; `snapshot`: media assets of the ledger.
Source = Literal["topic", "snapshot"]

#: States of a version that has ended. Others, but `missing` and `superseded`, are unfinished.
ENDED = ("complete", "partial", "dead_lettered")


@dataclass(frozen=True, slots=True)
class KnownState:
    """What the ledger knows of a version. `state`: its status, `missing`, or `superseded` (a
    version that was announced later is known). `busy`: who is at it right now."""

    state: str
    busy: str | None = None


@dataclass(frozen=True, slots=True)
class CandidateFilter:
    """Which media assets of the ledger are meant; an empty field excludes nothing.

    `stale`: kind -> fingerprint that is expected. `since` and `until` (excluded), ISO 8601, are
    compared with the last outcome, or with the arrival where there is none.
    """

    assets: tuple[str, ...] = ()
    kinds_missing: tuple[str, ...] = ()
    stale: Mapping[str, str] = field(default_factory=dict)
    outcomes: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None

    def described(self) -> dict[str, Any]:
        """What was given, JSON-serializable; the inverse of `candidate_filter`."""
        found: dict[str, Any] = {
            name: list(getattr(self, name))
            for name in ("assets", "kinds_missing", "outcomes", "statuses")
            if getattr(self, name)
        }
        if self.stale:
            found["stale"] = dict(self.stale)
        for name in ("since", "until"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)
        return found


def candidate_filter(described: Mapping[str, Any]) -> CandidateFilter:
    """The filter that `CandidateFilter.described` described."""
    return CandidateFilter(
        assets=tuple(described.get("assets", ())),
        kinds_missing=tuple(described.get("kinds_missing", ())),
        stale=dict(described.get("stale", {})),
        outcomes=tuple(described.get("outcomes", ())),
        statuses=tuple(described.get("statuses", ())),
        since=described.get("since"),
        until=described.get("until"),
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """The version of a media asset that a run would claim; `busy` as in `KnownState`."""

    asset_id: str
    content_version: str
    status: str
    busy: str | None = None


@dataclass(frozen=True, slots=True)
class CandidatePage:
    """`after`: the last media asset that was looked at, None at the end of the ledger."""

    rows: tuple[Candidate, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class Portion:
    """What one transaction of a replay notes. `place`: where reading goes on afterwards.
    `counts` are totals. `arrivals` are registered; `versions` will run, in one backfill."""

    number: int
    place: Mapping[str, Any]
    counts: Mapping[str, int]
    arrivals: Sequence[Arrival]
    versions: Sequence[Version]
    complete: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay as its row stands. `backfills`: number of the portion -> Dagster backfill, None
    where a launch was not noted. `was_read`: every portion was noted."""

    replay_id: str
    source: Source
    wanted: Mapping[str, Any]
    who: str
    host: str
    place: Mapping[str, Any]
    counts: Mapping[str, int]
    started_at: str
    was_read: bool
    items: int
    ended: int
    portions: int
    backfills: Mapping[int, str | None]
    proof: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ItemEnd:
    """How a version stood before its replay and stands now. `ended`: with an outcome since.
    Rows carry what proves them alone: kind, fingerprint, outcome, input, artifacts."""

    asset_id: str
    content_version: str
    status: str
    ended: bool
    superseded: bool
    before: tuple[Derivative, ...]
    now: tuple[Derivative, ...]


class ReplayStore(Protocol):
    """Replays in the ledger. Raises only errors of `media_pipeline.errors`."""

    def states(
        self, arrivals: Sequence[Arrival], replay_id: str | None, idle_seconds: int
    ) -> list[KnownState]:
        """One per arrival, in order. An unfinished version without a sign of life for
        `idle_seconds` is nobody's; `replay_id` itself is nobody."""
        ...

    def candidates(
        self,
        wanted: CandidateFilter,
        after: str | None,
        scan: int,
        replay_id: str | None,
        idle_seconds: int,
    ) -> CandidatePage:
        """Of the next `scan` media assets after that one, in order, those that are meant."""
        ...

    def begin(
        self, replay_id: str, source: Source, wanted: Mapping[str, Any], who: str, host: str,
        place: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Make the replay's row; again: nothing."""
        ...

    def note(self, replay_id: str, portion: Portion) -> list[str]:
        """Register, remember how each version stands, move on, in one transaction; answers the
        media assets of the portion. Versions of an earlier portion stay there. Again: nothing."""
        ...

    def launched(self, replay_id: str, number: int, backfill_id: str) -> None:
        """The portion's backfill was launched."""
        ...

    def replays(self, replay_id: str | None, limit: int) -> list[Replay]:
        """One, or the newest first."""
        ...

    def assets_of(self, replay_id: str, number: int) -> list[str]:
        """Media assets of a portion, in order."""
        ...

    def ends(self, replay_id: str, after: Version | None, limit: int) -> list[ItemEnd]:
        """In order of (media asset, content version), after that one."""
        ...

    def end(self, replay_id: str, proof: Mapping[str, Any]) -> None:
        """The replay is proven; nobody waits for it any more."""
        ...
