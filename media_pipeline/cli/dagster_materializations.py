"""Which media assets Dagster records as enriched, asked through GraphQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from media_pipeline.cli.dagster_api import DagsterApi

_PAGE = 500
_ASSET = "enrichment"


class ApiMaterializations:
    """`Materializations` on a Dagster webserver."""

    def __init__(self, dagster: DagsterApi) -> None:
        self._dagster = dagster

    def latest(self, asset_ids: Sequence[str]) -> Mapping[str, float]:
        """See `Materializations.latest`."""
        found: dict[str, float] = {}
        for start in range(0, len(asset_ids), _PAGE):
            (node,) = self._dagster.query(
                "query($a:[AssetKeyInput!],$p:[String!]){assetNodes(assetKeys:$a){"
                "latestMaterializationByPartition(partitions:$p){partition timestamp}}}",
                {"a": [{"path": [_ASSET]}], "p": list(asset_ids[start : start + _PAGE])},
            )["assetNodes"]
            found |= _times(node["latestMaterializationByPartition"])
        return found

    def between(self, since: float, until: float) -> Iterator[Mapping[str, float]]:
        """See `Materializations.between`."""
        cursor = None
        while True:
            page = self._dagster.query(
                "query($a:AssetKeyInput!,$s:String,$u:String,$c:String,$n:Int!){"
                "assetOrError(assetKey:$a){... on Asset{assetEventHistory("
                "afterTimestampMillis:$s,beforeTimestampMillis:$u,cursor:$c,limit:$n,"
                "eventTypeSelectors:[MATERIALIZATION]){cursor results{"
                "... on MaterializationEvent{partition timestamp}}}}}}",
                {
                    "a": {"path": [_ASSET]}, "c": cursor, "n": _PAGE,
                    "s": str(int(since * 1000)), "u": str(int(until * 1000)),
                },
            )["assetOrError"].get("assetEventHistory")  # fmt: skip
            if not page or not page["results"]:
                return
            yield _times(page["results"])
            cursor = page["cursor"]


def _times(events: Sequence[Mapping[str, Any] | None]) -> dict[str, float]:
    """Partition -> newest time, seconds; Dagster tells milliseconds as text."""
    found: dict[str, float] = {}
    for event in events:
        if event and event.get("partition"):
            at = float(event["timestamp"]) / 1000
            found[event["partition"]] = max(at, found.get(event["partition"], at))
    return found
