"""What end-to-end tests ask of the running system."""

import json
import time
from collections import Counter
from itertools import groupby

from media_pipeline.cli.dagster_api import DagsterApi
from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.ports import OutgoingEvent

SETTLE_SECONDS = 240


def wait_until(answer, what: str):
    """Ask until `answer()` is true; there is no event to wait for across processes."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not (found := answer()):
        assert time.monotonic() < deadline, f"not within {SETTLE_SECONDS} s: {what}"
        time.sleep(0.3)
    return found


def outcomes(world, asset_ids) -> dict[str, Counter]:
    rows = world.metadata_store.derivatives(list(asset_ids))
    found: dict[str, Counter] = {}
    for row in rows:
        found.setdefault(row.asset_id, Counter())[str(row.code)] += 1
    return found


def read_topic(world, topic: str) -> list[MessageRecord]:
    poll = world.event_source.poll(topic, {}, max_records=100_000, deadline_seconds=20)
    return list(poll.records)


def ended(world, asset_ids) -> bool:
    counts = world.metadata_store.counts()
    busy = sum(counts.by_status.get(name, 0) for name in ("registered", "claimed", "retry"))
    return (
        len(outcomes(world, asset_ids)) == len(set(asset_ids))
        and not busy
        and not counts.unpublished
    )


def events_of(world, topic: str, asset_id: str) -> list[MessageRecord]:
    return [r for r in read_topic(world, topic) if r.key == asset_id.encode()]


def partition_statuses(api: DagsterApi, asset: str) -> dict[str, set[str]]:
    node = api.query(
        "query($a:[AssetKeyInput!]){assetNodes(assetKeys:$a){assetPartitionStatuses{"
        "... on DefaultPartitionStatuses{materializedPartitions failedPartitions"
        " unmaterializedPartitions materializingPartitions}}}}",
        {"a": [{"path": [asset]}]},
    )["assetNodes"][0]["assetPartitionStatuses"]
    return {name: set(keys) for name, keys in node.items()}


def in_a_row(api: DagsterApi, wanted: set[str]) -> list[str]:
    """The most of these keys that follow one another: a backfill of them is a single range."""
    (node,) = api.query('{assetNodes(assetKeys:[{path:["enrichment"]}]){partitionKeys}}')[
        "assetNodes"
    ]
    stretches = groupby(node["partitionKeys"], key=wanted.__contains__)
    return max((list(keys) for good, keys in stretches if good), key=len)


def materialization(api: DagsterApi, asset: str, key: str) -> dict:
    """Run and data version of the newest materialization of one key."""
    (event,) = api.query(
        "query($a:AssetKeyInput!,$p:[String!]){assetOrError(assetKey:$a){... on Asset{"
        "assetMaterializations(partitions:$p,limit:1){runId tags{key value}}}}}",
        {"a": {"path": [asset]}, "p": [key]},
    )["assetOrError"]["assetMaterializations"]
    tags = {tag["key"]: tag["value"] for tag in event["tags"]}
    return {"run": event["runId"], "version": tags["dagster/data_version"]}


def row_of(world, asset_id: str, kind: str):
    (row,) = [row for row in world.metadata_store.derivatives([asset_id]) if row.kind == kind]
    return row


def backfill(api: DagsterApi, assets: list[str], keys: list[str]) -> str:
    launched = api.query(
        "mutation($p:LaunchBackfillParams!){launchPartitionBackfill(backfillParams:$p){__typename"
        " ... on LaunchBackfillSuccess{backfillId} ... on PythonError{message}}}",
        {
            "p": {
                "partitionNames": keys,
                "assetSelection": [{"path": [asset]} for asset in assets],
                "title": "replay",
            }
        },
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    def status() -> str | None:
        found = api.query(
            "query($i:String!){partitionBackfillOrError(backfillId:$i){"
            "... on PartitionBackfill{status}}}",
            {"i": launched["backfillId"]},
        )["partitionBackfillOrError"]["status"]
        return found if found.startswith("COMPLETED") or found in ("FAILED", "CANCELED") else None

    return wait_until(status, "the backfill")


def message(asset_id: str, **fields) -> OutgoingEvent:
    body = {
        "event_id": f"event-{asset_id}", "occurred_at": "2026-01-01T00:00:00Z",
        "asset_id": asset_id, "bucket": "media", "object_key": f"uploads/{asset_id}", **fields,
    }  # fmt: skip
    return OutgoingEvent(
        asset_id, "media.ingested.v1", asset_id.encode(), json.dumps(body).encode()
    )


def lose(world, api: DagsterApi, events: list[OutgoingEvent]) -> dict[int, int]:
    """Publish messages that the sensor never reads: its cursor is moved past them while it is
    off. Answers where they begin, by Kafka partition."""
    topic = world.settings.kafka.ingested_topic
    sensor = {
        "repositoryName": "__repository__", "repositoryLocationName": "media_pipeline",
        "sensorName": "media_events_sensor",
    }  # fmt: skip

    def state() -> dict:
        return api.query(
            "query($s:SensorSelector!){sensorOrError(sensorSelector:$s){... on Sensor{"
            "sensorState{id status ticks(limit:1){status}}}}}",
            {"s": sensor},
        )["sensorOrError"]["sensorState"]

    cursor = json.loads(wait_until(lambda: api.sensor_cursor("media_events_sensor"), "a tick"))

    def off() -> bool:
        """A tick that ends writes the state it began with: who stops it in between asks again."""
        found = state()
        if found["status"] != "STOPPED":
            api.query("mutation($i:String){stopSensor(id:$i){__typename}}", {"i": found["id"]})
            return False
        return found["ticks"][0]["status"] != "STARTED"

    wait_until(off, "the sensor to be off")
    cursor = json.loads(api.sensor_cursor("media_events_sensor"))
    ends = {number: span.end for number, span in world.event_source.spans(topic).items()}
    assert cursor["positions"][topic] == {str(n): end for n, end in ends.items()}, "all was read"
    world.event_sink.publish(events)
    after = {number: span.end for number, span in world.event_source.spans(topic).items()}
    cursor["positions"][topic] = after
    api.query(
        "mutation($s:SensorSelector!,$c:String){setSensorCursor(sensorSelector:$s,cursor:$c)"
        "{__typename}}",
        {"s": sensor, "c": json.dumps(cursor)},
    )
    api.query(
        "mutation($s:SensorSelector!){startSensor(sensorSelector:$s){__typename}}", {"s": sensor}
    )
    return {number: end for number, end in ends.items() if after[number] > end}
