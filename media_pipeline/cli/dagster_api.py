"""The few GraphQL questions that the command line asks of Dagster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from media_pipeline.batch_tags import MEDIA_ASSETS
from media_pipeline.errors import SystemicError

_REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "media_pipeline"}
_ADDED_AT_ONCE = 100
#: A new code server starts and imports everything before it answers.
_RELOAD_SECONDS = 150


class DagsterApi:
    """One Dagster webserver."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(
        self,
        text: str,
        variables: Mapping[str, object] | None = None,
        *,
        timeout_seconds: float = 30,
    ) -> dict[str, Any]:
        """The `data` part; SystemicError when Dagster answers with errors or not at all."""
        import requests  # quick --help

        try:
            answer = requests.post(
                f"{self.url}/graphql",
                json={"query": text, "variables": dict(variables or {})},
                timeout=timeout_seconds,
            ).json()
        except (requests.RequestException, json.JSONDecodeError) as error:
            raise SystemicError(
                f"Dagster at {self.url} does not answer: {error}.",
                remedy="read its log file; is the webserver running?",
                code="dagster_unreachable",
            ) from error
        if answer.get("errors"):
            raise SystemicError(
                f"Dagster refused a query: {answer['errors'][0]['message']}",
                remedy="the Dagster version differs from the pinned one; reinstall.",
                code="dagster_refused",
            )
        return dict(answer["data"])

    def ready(self) -> bool:
        """True once the code location is loaded without an error."""
        try:
            data = self.query(
                "{workspaceOrError{... on Workspace{locationEntries{loadStatus"
                " locationOrLoadError{__typename ... on PythonError{message}}}}}}"
            )
        except SystemicError:
            return False
        entries = data["workspaceOrError"].get("locationEntries") or []
        for entry in entries:
            loaded = entry["locationOrLoadError"]
            if loaded and loaded["__typename"] == "PythonError":
                raise SystemicError(
                    f"Dagster cannot load the code: {loaded['message']}",
                    remedy="run `dagster definitions validate -m media_pipeline.definitions`.",
                    code="definitions_broken",
                )
        return bool(entries) and all(
            entry["loadStatus"] == "LOADED" and entry["locationOrLoadError"] for entry in entries
        )

    def run_statuses(self) -> dict[str, int]:
        """Number of runs by status."""
        runs = self.query("{runsOrError{... on Runs{results{status}}}}")["runsOrError"]["results"]
        counts: dict[str, int] = {}
        for run in runs:
            counts[run["status"]] = counts.get(run["status"], 0) + 1
        return counts

    def sensor_cursor(self, sensor: str) -> str | None:
        """The persisted cursor of a sensor; None before its first tick."""
        states = self.query(
            "query($s:SensorSelector!){sensorOrError(sensorSelector:$s){... on Sensor"
            "{sensorState{typeSpecificData{... on SensorData{lastCursor}}}}}}",
            {"s": {**_REPOSITORY, "sensorName": sensor}},
        )
        state = states["sensorOrError"].get("sensorState") or {}
        return (state.get("typeSpecificData") or {}).get("lastCursor")

    def launch_backfill(
        self,
        assets: Sequence[str],
        partition_keys: Sequence[str],
        tags: Mapping[str, str],
        title: str,
        run_config: Mapping[str, object] | None = None,
    ) -> str:
        """Backfill these partitions of these Dagster assets; answers the backfill's id.

        Partitions that were retired are added again first. `run_config`: of each of its runs.
        """
        params = {
            "assetSelection": [{"path": [name]} for name in assets],
            "partitionNames": list(partition_keys),
            "tags": [{"key": name, "value": value} for name, value in tags.items()],
            "title": title,
            "runConfigData": dict(run_config or {}),
        }
        found = self._launch(params)
        if found.get("partitionKeys"):
            self.add_partitions(found["partitionKeys"])
            found = self._launch(params)
        if "backfillId" not in found:
            raise SystemicError(
                f"Dagster did not launch the backfill: {found.get('message', found)}",
                remedy="look at the message; are all keys partitions of `media_asset`?",
                code="dagster_refused",
            )
        return str(found["backfillId"])

    def _launch(self, params: Mapping[str, object]) -> dict[str, Any]:
        found: dict[str, Any] = self.query(
            "mutation($p:LaunchBackfillParams!){launchPartitionBackfill(backfillParams:$p)"
            "{__typename ... on LaunchBackfillSuccess{backfillId} ... on PythonError{message}"
            " ... on PartitionKeysNotFoundError{message partitionKeys}}}",
            {"p": params},
        )["launchPartitionBackfill"]
        return found

    def partition_keys(self) -> list[str]:
        """All asset partitions, in insertion order."""
        (node,) = self.query(
            "query($a:[AssetKeyInput!]){assetNodes(assetKeys:$a){partitionKeys}}",
            {"a": [{"path": ["enrichment"]}]},
        )["assetNodes"]
        return [str(key) for key in node["partitionKeys"]]

    def add_partitions(self, keys: Sequence[str]) -> None:
        """Make keys known as asset partitions; those that are known already do no harm."""
        for start in range(0, len(keys), _ADDED_AT_ONCE):
            page = keys[start : start + _ADDED_AT_ONCE]
            names = [f"k{number}" for number in range(len(page))]
            declared = "".join(f",${name}:String!" for name in names)
            calls = "".join(
                f"{name}:addDynamicPartition(repositorySelector:$s,"
                f'partitionsDefName:"{MEDIA_ASSETS}",partitionKey:${name}){{__typename}}'
                for name in names
            )
            self.query(
                f"mutation($s:RepositorySelector!{declared}){{{calls}}}",
                {"s": _REPOSITORY, **dict(zip(names, page, strict=True))},
            )

    def backfills_since(self, moment: float) -> Iterator[dict[str, Any]]:
        """`id`, `status` and `tags` of each backfill made since then (epoch seconds), newest
        first."""
        cursor = None
        while True:
            found = self.query(
                "query($f:BulkActionsFilter,$c:String){partitionBackfillsOrError("
                "filters:$f,cursor:$c,limit:100){... on PartitionBackfills{results{id status"
                " tags{key value}}}}}",
                {"f": {"createdAfter": moment}, "c": cursor},
            )["partitionBackfillsOrError"].get("results", [])
            for one in found:
                tags = {tag["key"]: tag["value"] for tag in one["tags"]}
                yield {"id": one["id"], "status": one["status"], "tags": tags}
            if not found:
                return
            cursor = found[-1]["id"]

    def backfill_statuses(self, ids: Sequence[str]) -> dict[str, str]:
        """Status by id, as `REQUESTED` or `COMPLETED_SUCCESS`; unknown ones are left out."""
        statuses: dict[str, str] = {}
        for start in range(0, len(ids), _ADDED_AT_ONCE):
            page = ids[start : start + _ADDED_AT_ONCE]
            calls = "".join(
                f"b{number}:partitionBackfillOrError(backfillId:{json.dumps(one)})"
                "{... on PartitionBackfill{status}}"
                for number, one in enumerate(page)
            )
            found = self.query(f"{{{calls}}}")
            for number, one in enumerate(page):
                status = found[f"b{number}"].get("status")
                if status:
                    statuses[one] = status
        return statuses

    def reload_code(self) -> None:
        """Load the definitions anew, as the button in the UI does."""
        self.query(
            'mutation{reloadRepositoryLocation(repositoryLocationName:"media_pipeline")'
            "{__typename}}",
            timeout_seconds=_RELOAD_SECONDS,
        )
