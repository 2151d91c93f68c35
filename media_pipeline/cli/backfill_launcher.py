"""Backfills that the command line launches: a lane of their own, few runs for scattered keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from media_pipeline.batch_tags import lane_tags, set_run_config
from media_pipeline.cli.dagster_api import DagsterApi
from media_pipeline.replays.backfill_plan import MOST_IN_SETS, plan_backfills
from media_pipeline.settings import Settings


class BackfillLauncher:
    """Launches on a Dagster webserver. Runs of the lane `backfill` start after live ones, and
    dagster.yaml bounds how many of them run at once."""

    def __init__(self, dagster: DagsterApi, settings: Settings) -> None:
        self._dagster = dagster
        self._tags = lane_tags("backfill", settings.runs.priority_classes)
        self._max_keys = settings.batch.max_keys

    def launch(
        self,
        assets: Sequence[str],
        keys: Sequence[str],
        title: str,
        tags: Mapping[str, str] | None = None,
        most_in_sets: int = MOST_IN_SETS,
    ) -> list[str]:
        """Backfill these media assets; answers the ids of the Dagster backfills, one unless they
        are scattered and more than `most_in_sets`."""
        order = self._dagster.partition_keys()
        launched = []
        for planned in plan_backfills(keys, order, self._max_keys, most_in_sets):
            config = set_run_config(*planned.sets) if planned.sets else None
            named = f"{title}: {len(planned.keys)} media assets"
            if planned.sets:
                self._dagster.add_partitions(sorted(set(planned.keys) - set(order)))
                named += f" in {len(planned.sets)} sets"
            launched.append(
                self._dagster.launch_backfill(
                    assets, planned.partition_keys, {**self._tags, **(tags or {})}, named, config
                )
            )
        return launched
