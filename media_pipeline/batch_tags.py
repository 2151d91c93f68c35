"""How a run says which asset partitions it works on: tags of range runs, config of set runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from media_pipeline.domain.identity import batch_digest
from media_pipeline.domain.media_asset import Priority

#: Name of the dynamic partition set in the Dagster instance.
MEDIA_ASSETS = "media_asset"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
PARTITION_TAG = "dagster/partition"
BACKFILL_TAG = "dagster/backfill"
PRIORITY_TAG = "dagster/priority"
DIGEST_TAG = "media/batch_digest"
SIZE_TAG = "media/batch_size"
LANE_TAG = "media/lane"
POD_TAG = "dagster-k8s/config"
#: On runs that a candidate launched; its value says nothing more.
CANARY_TAG = "media/canary"
#: Live media go first: the run queue starts higher priorities before lower ones.
LANE_PRIORITY = {"live": "10", "backfill": "-10"}


def range_run_tags(keys: Sequence[str]) -> dict[str, str]:
    """Tags of a run over a contiguous range of keys, in insertion order."""
    return {RANGE_START_TAG: keys[0], RANGE_END_TAG: keys[-1], **_common(keys)}


def set_run_tags(keys: Sequence[str]) -> dict[str, str]:
    """Tags of a run over any keys; the list itself goes into the run config.

    Not as a tag: PostgreSQL indexes tag values and refuses more than about 2.7 kB.
    """
    return {PARTITION_TAG: keys[0], **_common(keys)}


def set_run_config(*sets: Sequence[str]) -> dict[str, Any]:
    """Run config that gives the batch resource its sets, each under its first key, the anchor.

    With several sets the runs of one backfill share it: each works on those of its own anchors.
    """
    return {"resources": {"batch": {"config": {"sets": {keys[0]: list(keys) for keys in sets}}}}}


def lane_tags(lane: Priority, priority_classes: Mapping[Priority, str]) -> dict[str, str]:
    """Tags that put a run into a lane: place in the queue and, on Kubernetes, of its pod.

    `priority_classes`: lane -> PriorityClass; a lane without one leaves its pod as it is.
    """
    tags = {LANE_TAG: lane, PRIORITY_TAG: LANE_PRIORITY[lane]}
    if lane in priority_classes:
        config = {"pod_spec_config": {"priority_class_name": priority_classes[lane]}}
        tags[POD_TAG] = json.dumps(config)
    return tags


def run_keys(tags: Mapping[str, str], run_config: Mapping[str, Any]) -> list[str]:
    """Keys that a run names: all of a set run, the two ends of a range run."""
    sets: Any = run_config
    for name in ("resources", "batch", "config", "sets"):
        sets = sets.get(name) if isinstance(sets, Mapping) else None
    ends = (tags.get(RANGE_START_TAG), tags.get(RANGE_END_TAG), tags.get(PARTITION_TAG))
    found = list(dict.fromkeys(key for key in ends if key))
    return with_sets(found, sets or {})


def with_sets(keys: Sequence[str], sets: Mapping[str, Sequence[str]]) -> list[str]:
    """Each key with the set that it is the anchor of; a key without one stands for itself."""
    return [str(one) for key in keys for one in sets.get(key, (key,))]


def _common(keys: Sequence[str]) -> dict[str, str]:
    return {DIGEST_TAG: batch_digest(list(keys)), SIZE_TAG: str(len(keys))}
