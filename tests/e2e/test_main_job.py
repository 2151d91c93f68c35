"""The main job on real servers: sensor, daemon, runs, ledger, objects, events, backfill.

The tests build on each other's data, never on order within what they assert.
"""

import json
import re
from collections import Counter
from dataclasses import replace

import pytest

from media_pipeline.cli.producer import announce, upload
from media_pipeline.contracts.asset_enriched import parse_asset_enriched
from media_pipeline.contracts.dead_letter import read_dead_letter
from tests.e2e.pipeline import (
    backfill,
    events_of,
    in_a_row,
    outcomes,
    partition_statuses,
    read_topic,
    row_of,
    wait_until,
)

pytestmark = pytest.mark.timeout(420)


def test_every_media_asset_ends_as_it_must_exactly_once(world, dagster, samples):
    enriched = read_topic(world, world.settings.kafka.enriched_topic)
    dead = [
        read_dead_letter(record)
        for record in read_topic(world, world.settings.kafka.dead_letter_topic)
    ]
    events = {}
    for record in enriched:
        body = parse_asset_enriched(record.value)
        assert body["asset_id"] not in events, "an enriched event came twice"
        events[body["asset_id"]] = body["outcome"]
    buried = Counter(letter.headers.get("asset_id") for letter in dead)
    for sample in samples:
        ends = [events.get(sample.asset_id), "dead_lettered" if buried[sample.asset_id] else None]
        assert [end for end in ends if end] == [sample.expected], sample.asset_id
    assert max(buried.values()) == 1


def test_dead_letters_carry_the_original_bytes_and_a_reason(world, dagster, samples):
    letters = [
        read_dead_letter(record)
        for record in read_topic(world, world.settings.kafka.dead_letter_topic)
    ]
    reasons = {letter.headers.get("asset_id"): letter.headers["error.code"] for letter in letters}
    by_recipe = {
        sample.asset_id.rsplit("-", 1)[1]: reasons[sample.asset_id]
        for sample in samples
        if sample.expected == "dead_lettered"
    }
    assert by_recipe == {
        "encrypted": "encrypted", "truncated": "invalid", "garbage": "invalid",
        "bomb": "too_large", "empty": "empty",
    }  # fmt: skip
    (malformed,) = [one for one in letters if one.headers["error.code"] == "malformed_json"]
    assert malformed.original.value == b'{"asset_id": "cut o'
    assert malformed.original.key == b"invalid-1"


def test_objects_are_where_the_ledger_says(world, dagster, samples):
    import hashlib

    rows = world.metadata_store.derivatives([one.asset_id for one in samples])
    stored = [part for row in rows for part in row.artifacts]
    assert len(stored) > 60
    for part in stored[::7]:
        data = world.object_store.get(part.object_key)
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (part.digest, part.size_bytes)


def test_dagster_shows_exactly_the_enriched_as_materialized(world, dagster, samples):
    good = {one.asset_id for one in samples if one.expected != "dead_lettered"}
    bad = {one.asset_id for one in samples if one.expected == "dead_lettered"}
    statuses = partition_statuses(dagster, "enrichment")
    assert good <= statuses["materializedPartitions"]
    assert not bad & statuses["materializedPartitions"]
    assert bad <= statuses["failedPartitions"] | statuses["unmaterializedPartitions"]
    assert set(dagster.run_statuses()) == {"SUCCESS"}, "bad media must not turn a run red"


def test_a_materialization_shows_sizes_a_link_and_a_picture(dagster, samples):
    photo = next(one for one in samples if one.asset_id.endswith("photo"))
    (event,) = dagster.query(
        "query($a:AssetKeyInput!,$p:[String!]){assetOrError(assetKey:$a){... on Asset{"
        "assetMaterializations(partitions:$p,limit:1){metadataEntries{label __typename"
        " ... on MarkdownMetadataEntry{mdStr}"
        " ... on IntMetadataEntry{intValue}}}}}}",
        {"a": {"path": ["thumbnails"]}, "p": [photo.asset_id]},
    )["assetOrError"]["assetMaterializations"]
    entries = {entry["label"]: entry for entry in event["metadataEntries"]}
    assert entries["preview"]["mdStr"].startswith("![preview](data:image/webp;base64,")
    assert re.search(r"\[512\.webp\]\(<http\S+/512\.webp>\)", entries["objects"]["mdStr"])
    assert entries["stored_bytes"]["intValue"] > 1000
    assert {"batch_outcomes", "batch_seconds", "content_digest", "fingerprint"} <= set(entries)


def test_scans_are_read_and_pictures_judged(world, dagster, samples):
    scan = next(one for one in samples if one.asset_id.endswith("scan"))
    row = row_of(world, scan.asset_id, "ocr")
    text = world.object_store.get(row.artifacts[1].object_key).decode()
    assert scan.asset_id in text
    assert row.attributes["confidence"] > 85
    for recipe in ("photo", "report"):
        one = next(one for one in samples if one.asset_id.endswith(recipe))
        judged = row_of(world, one.asset_id, "moderation")
        assert judged.attributes["verdict"] == "allow"
        document = json.loads(world.object_store.get(judged.artifacts[0].object_key))
        assert document["scores"]["nsfw"] < 0.2
        assert len(document["frames"]) == judged.attributes["frames"]


def test_each_message_may_ask_for_its_languages(world, dagster, samples):
    german = row_of(world, "lang-deu", "ocr")
    assert [part.name for part in german.artifacts] == ["ocr.deu.json.gz", "ocr.deu.txt"]
    missing = row_of(world, "lang-missing", "ocr")
    assert (str(missing.code), "jpn" in missing.message) == ("unsupported", True)
    events = events_of(world, world.settings.kafka.enriched_topic, "lang-missing")
    assert [parse_asset_enriched(one.value)["outcome"] for one in events] == ["partial"]


def unfenced(world, asset_id: str, kinds) -> list:
    """Rows with what processing gave them, seconds included; the batch that recorded them aside."""
    return [replace(row_of(world, asset_id, kind), fence=0) for kind in kinds]


def test_another_model_makes_exactly_moderation_stale_and_a_backfill_mends_it(
    world, dagster, samples, stack, monkeypatch
):
    from typer.testing import CliRunner

    from media_pipeline.cli.main import app
    from media_pipeline.models.registry import load_registry, save_registry

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MEDIA_PIPELINE_DAGSTER_URL", dagster.url)
    assert "nothing is stale" in run("stale")
    path = stack.data_dir / "models.json"
    registry = load_registry(path)
    strict = replace(
        registry.current, name="strict", thresholds={"nsfw": {"review": 0.0, "block": 0.8}}
    )
    save_registry(path, registry.with_candidate(strict))
    assert "Dagster has reloaded its code" in run("models", "promote", "strict")

    found = json.loads(run("stale", "--json"))
    enriched = sum(
        world.metadata_store.counts().by_status[name] for name in ("complete", "partial")
    )
    assert [(one["kind"], one["assets"]) for one in found["kinds"]] == [("moderation", enriched)]
    before = unfenced(world, samples[0].asset_id, ("text", "thumbnails"))

    found = json.loads(run("stale", "--json", "--backfill"))
    assert len(found["backfills"]) == 1
    wait_until(lambda: "nothing is stale" in run("stale"), "the backfill of moderation")
    wait_until(lambda: not world.metadata_store.counts().unpublished, "the outbox")
    photo = next(one for one in samples if one.asset_id.endswith("photo"))
    assert row_of(world, photo.asset_id, "moderation").attributes["verdict"] == "review"
    after = unfenced(world, samples[0].asset_id, ("text", "thumbnails"))
    assert before == after, "the other workloads were not run again"
    # Pages hide what this model does not allow; other modules look at pictures.
    assert "Dagster has reloaded its code" in run("models", "rollback")


def test_a_backfill_of_finished_work_duplicates_nothing(world, dagster, samples):
    keys = in_a_row(dagster, {one.asset_id for one in samples if one.expected == "complete"})[:6]
    assert len(keys) > 1
    objects = world.object_store.list_keys("derived/")
    events = len(read_topic(world, world.settings.kafka.enriched_topic))
    assert backfill(dagster, ["text", "thumbnails", "enrichment"], keys) == "COMPLETED_SUCCESS"
    wait_until(lambda: not world.metadata_store.counts().unpublished, "the outbox")
    assert world.object_store.list_keys("derived/") == objects
    assert len(read_topic(world, world.settings.kafka.enriched_topic)) == events


def test_a_mended_upload_is_enriched_after_its_dead_letter(world, dagster, samples):
    broken = next(one for one in samples if one.asset_id.endswith("truncated"))
    whole = next(one for one in samples if one.asset_id.endswith("report"))
    again = upload(world, broken.asset_id, "mended.pdf", whole.data, "application/pdf")
    announce(world, [again])
    topic = world.settings.kafka.enriched_topic
    wait_until(lambda: events_of(world, topic, broken.asset_id), "the mended media asset")
    assert outcomes(world, [broken.asset_id])[broken.asset_id] == Counter(ok=3, not_applicable=1)
    statuses = partition_statuses(dagster, "enrichment")
    assert broken.asset_id in statuses["materializedPartitions"]


def test_bad_events_have_named_ends_and_spare_their_neighbours(world, dagster, samples):
    """Missing object, changed object, oversized object, wrong type, one good neighbour."""
    names = ["bad-missing", "bad-changed", "bad-large", "good-mislabelled", "good-neighbour"]
    found = outcomes(world, names)
    assert found["bad-missing"] == Counter(object_missing=4)
    assert found["bad-changed"] == Counter(object_changed=4)
    assert found["bad-large"] == Counter(too_large=4)
    assert found["good-mislabelled"] == Counter(ok=1, not_applicable=3)
    assert found["good-neighbour"] == Counter(ok=1, not_applicable=3)
    (row,) = [r for r in world.metadata_store.derivatives(["good-mislabelled"]) if r.kind == "text"]
    assert row.attributes["media_type"] == "text/plain"
    assert row.attributes["declared_type"] == "image/png"
    dead = {
        read_dead_letter(record).headers.get("asset_id")
        for record in read_topic(world, world.settings.kafka.dead_letter_topic)
    }
    assert set(names[:3]) <= dead
    assert not set(names[3:]) & dead
