"""What keeps a media asset from being lost: pauses, breakers, losses of runs, what waits.

Values, and the port that is implemented in `resources.recovery_store` and `tests/fakes`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

PAUSE_ALL = "all"


@dataclass(frozen=True, slots=True)
class Flag:
    """The newest value of a flag. `at`: seconds since the epoch."""

    name: str
    value: object
    reason: str
    who: str
    at: float


@dataclass(frozen=True, slots=True)
class Breaker:
    """A systemic error that stopped the intake. `opened_at`: seconds since the epoch;
    `retry_in_seconds`: until dependencies are probed, negative when it is time."""

    code: str
    state: Literal["open", "half_open"]
    message: str
    run_id: str | None
    trips: int
    opened_at: float
    retry_in_seconds: float


@dataclass(frozen=True, slots=True)
class Controls:
    """Everything that may keep the intake from launching."""

    flags: tuple[Flag, ...] = ()
    breakers: tuple[Breaker, ...] = ()

    def pause(self, scope: str = PAUSE_ALL) -> Flag | None:
        """The flag that pauses `all`, `workload:<kind>` or `bucket:<name>`, if it is set."""
        wanted = flag_name(scope)
        return next(
            (one for one in self.flags if one.name == wanted and means_pause(one.value)), None
        )

    def paused_scopes(self) -> list[str]:
        """Every scope that is paused."""
        return [scope_of(one.name) for one in self.pauses()]

    def pauses(self) -> list[Flag]:
        """The flags of these scopes."""
        return [one for one in self.flags if _is_pause(one.name) and means_pause(one.value)]


def flag_name(scope: str) -> str:
    """The flag of a scope: `pause` alone stands for everything."""
    return "pause" if scope == PAUSE_ALL else f"pause:{scope}"


def scope_of(name: str) -> str:
    """The inverse of `flag_name`."""
    return name.partition(":")[2] or PAUSE_ALL


def _is_pause(name: str) -> bool:
    return name == "pause" or name.startswith("pause:")


def means_pause(value: object) -> bool:
    """Whether a pause flag of this value pauses; anything but its own form does, to be on the
    safe side."""
    if isinstance(value, Mapping):
        return bool(value.get("paused", True))
    return bool(value)


@dataclass(frozen=True, slots=True)
class Loss:
    """A content version that earlier runs died with. `marks`: kind -> how many of them died
    while that file was in the cage."""

    asset_id: str
    content_version: str
    lost_attempts: int
    marks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An unfinished content version that nobody seems to work on. Times: seconds since the
    epoch. `released`: it was held for a scope that is not paused any more."""

    asset_id: str
    content_version: str
    status: str
    attempts: int
    lost_attempts: int
    fence: int
    run_id: str | None
    root_run_id: str | None
    priority: str
    released: bool
    waiting_since: float
    claimed_at: float | None


@dataclass(frozen=True, slots=True)
class Trip:
    """A run that stopped with a systemic error."""

    run_id: str
    code: str
    message: str


class RecoveryStore(Protocol):
    """The part of the ledger that remembers what went wrong."""

    def controls(self) -> Controls: ...

    def set_flag(self, name: str, value: object, *, reason: str, who: str) -> None:
        """A new row; the ones before are history."""
        ...

    def trip(self, trips: Sequence[Trip]) -> int:
        """Open the breakers of these runs' errors; answers how many runs were news."""
        ...

    def probed(self, *, passed: bool, said: str = "") -> None:
        """What a probe of all dependencies gave, for the breakers whose time had come."""
        ...

    def losses(self, run_id: str, asset_ids: Sequence[str]) -> list[Loss]:
        """Of what this run has claimed: content versions that runs before it died with."""
        ...

    def enter_cage(self, asset_id: str, content_version: str, kind: str, fence: int) -> None:
        """Note durably that this file is about to be decoded."""
        ...

    def leave_cage(self, asset_id: str, content_version: str, kind: str, fence: int) -> None: ...

    def hold(self, versions: Sequence[tuple[str, str]], scope: str) -> int:
        """Registered (asset id, content version)s wait until `scope` is resumed."""
        ...

    def waiting(
        self, paused_scopes: Collection[str], grace_seconds: float, limit: int
    ) -> list[Waiting]:
        """Unfinished content versions, oldest first: see deploy/postgres/migrations/0080."""
        ...


class DependencyProbe(Protocol):
    """Whether what runs need is there."""

    def probe(self) -> None:
        """Raise the first error that a dependency answers with."""
        ...
