"""A replay's portions as Dagster backfills."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from media_pipeline.cli.backfill_launcher import BackfillLauncher
from media_pipeline.cli.dagster_api import DagsterApi
from media_pipeline.settings import Settings

#: `<replay id>/<portion>`: by this a launch is found whose note was lost.
REPLAY_TAG = "media/replay"
_OVER = ("COMPLETED", "FAILED", "CANCELED")


class DagsterLauncher:
    """`Launcher` on a Dagster webserver."""

    def __init__(self, settings: Settings, kinds: Sequence[str], started_at: str) -> None:
        self._dagster = DagsterApi(settings.dagster_url)
        self._backfills = BackfillLauncher(self._dagster, settings)
        self._kinds = kinds
        self._since = datetime.fromisoformat(started_at).timestamp() - 60
        self._known: dict[str, str] | None = None

    def add_partitions(self, keys: Sequence[str]) -> None:
        """See `Launcher.add_partitions`."""
        self._dagster.add_partitions(keys)

    def launched_before(self, replay_id: str, number: int) -> str | None:
        """See `Launcher.launched_before`. Asked once: nobody else launches this replay."""
        if self._known is None:
            self._known = {
                one["tags"][REPLAY_TAG]: one["id"]
                for one in self._dagster.backfills_since(self._since)
                if REPLAY_TAG in one["tags"]
            }
        return self._known.get(f"{replay_id}/{number}")

    def launch(self, replay_id: str, number: int, keys: Sequence[str]) -> str:
        """See `Launcher.launch`."""
        (backfill,) = self._backfills.launch(
            [*self._kinds, "enrichment"],
            keys,
            f"replay {replay_id}, portion {number}",
            {REPLAY_TAG: f"{replay_id}/{number}"},
            most_in_sets=len(keys),
        )
        return backfill

    def all_over(self, backfills: Sequence[str]) -> bool:
        """Whether none of these backfills will do anything any more."""
        statuses = self._dagster.backfill_statuses(backfills)
        return all(status.startswith(_OVER) for status in statuses.values())
