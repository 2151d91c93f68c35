"""Pauses, breakers, losses and what waits, behind PostgREST: `RecoveryStore` on migration 0080."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

from media_pipeline.domain.recovery import (
    Breaker,
    Controls,
    Flag,
    Loss,
    Trip,
    Waiting,
)
from resources.postgrest_client import PostgrestClient


class PostgrestRecoveryStore:
    """`RecoveryStore`; every method is one bounded request."""

    def __init__(self, client: PostgrestClient) -> None:
        self._client = client

    def controls(self) -> Controls:
        """See `RecoveryStore.controls`."""
        (row,) = self._client.call("controls", {})
        return Controls(
            tuple(Flag(**one) for one in row["flags"]),
            tuple(Breaker(**one) for one in row["breakers"]),
        )

    def set_flag(self, name: str, value: object, *, reason: str, who: str) -> None:
        """See `RecoveryStore.set_flag`."""
        asked = {"flag_name": name, "flag_value": value, "because": reason, "by_whom": who}
        self._client.call("set_flag", asked)

    def trip(self, trips: Sequence[Trip]) -> int:
        """See `RecoveryStore.trip`."""
        return int(self._client.call("trip_breakers", {"told": [asdict(one) for one in trips]}))

    def probed(self, *, passed: bool, said: str = "") -> None:
        """See `RecoveryStore.probed`."""
        self._client.call("breaker_probed", {"passed": passed, "said": said})

    def losses(self, run_id: str, asset_ids: Sequence[str]) -> list[Loss]:
        """See `RecoveryStore.losses`."""
        rows = self._client.call("losses", {"run": run_id, "asset_ids": list(asset_ids)})
        return [Loss(**row) for row in rows]

    def enter_cage(self, asset_id: str, content_version: str, kind: str, fence: int) -> None:
        """See `RecoveryStore.enter_cage`."""
        self._client.call("enter_cage", _mark(asset_id, content_version, kind, fence))

    def leave_cage(self, asset_id: str, content_version: str, kind: str, fence: int) -> None:
        """See `RecoveryStore.leave_cage`."""
        self._client.call("leave_cage", _mark(asset_id, content_version, kind, fence))

    def hold(self, versions: Sequence[tuple[str, str]], scope: str) -> int:
        """See `RecoveryStore.hold`."""
        arrivals = [
            {"asset_id": asset_id, "content_version": version} for asset_id, version in versions
        ]
        return int(self._client.call("hold", {"arrivals": arrivals, "scope": scope}))

    def waiting(
        self, paused_scopes: Collection[str], grace_seconds: float, limit: int
    ) -> list[Waiting]:
        """See `RecoveryStore.waiting`."""
        asked = {
            "paused_scopes": sorted(paused_scopes),
            "grace_seconds": grace_seconds,
            "max_rows": limit,
        }
        return [Waiting(**row) for row in self._client.call("waiting", asked)]


def _mark(asset_id: str, content_version: str, kind: str, fence: int) -> dict[str, object]:
    return {
        "asset": asset_id, "version": content_version, "of_kind": kind, "under_fence": fence,
    }  # fmt: skip
