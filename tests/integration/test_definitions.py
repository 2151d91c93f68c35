"""The code location loads the way Dagster's own tools load it, and says what operators need."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from media_pipeline.definitions import build_defs
from media_pipeline.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "command",
    [
        ["dagster", "definitions", "validate", "-m", "media_pipeline.definitions"],
        ["dg", "check", "defs"],
    ],
)
def test_dagsters_own_checks_pass(command, tmp_path):
    program = str(Path(sys.executable).with_name(command[0]))
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        [program, *command[1:]],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    return build_defs(Settings())


def test_every_dagster_asset_is_described_grouped_and_batched(defs):
    graph = defs.resolve_asset_graph()
    assert {key.path[0] for key in graph.get_all_asset_keys()} == {
        "text", "thumbnails", "ocr", "moderation", "enrichment",
    }  # fmt: skip
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description
        assert node.group_name == "media"
        assert node.kinds
        assert node.owners == ["team:media-processing"]
        assert node.partitions_def.name == "media_asset"
        assert node.backfill_policy.max_partitions_per_run == Settings().batch.max_keys
    assert {key.path[0] for key in graph.get(dg.AssetKey("enrichment")).parent_keys} == {
        "text", "thumbnails", "ocr", "moderation",
    }  # fmt: skip


def test_workloads_may_be_left_out():
    graph = build_defs(Settings(workloads=("text", "thumbnails"))).resolve_asset_graph()
    assert {key.path[0] for key in graph.get_all_asset_keys()} == {
        "text", "thumbnails", "enrichment",
    }  # fmt: skip


def test_another_model_makes_moderation_stale_and_nothing_else(tmp_path):
    from media_pipeline.models.registry import Registry, save_registry
    from media_pipeline.settings import ModerationSettings
    from tests.unit.models.test_registry import NEW, OLD

    versions = []
    for model in (OLD, NEW):
        save_registry(tmp_path / "models.json", Registry(model))
        settings = Settings(
            moderation=ModerationSettings(registry_file=str(tmp_path / "models.json"))
        )
        graph = build_defs(settings).resolve_asset_graph()
        versions.append(
            {key.path[0]: graph.get(key).code_version for key in graph.get_all_asset_keys()}
        )
    changed = {name for name in versions[0] if versions[0][name] != versions[1][name]}
    assert changed == {"moderation"}


def test_code_versions_follow_the_settings(defs):
    from media_pipeline.settings import ProcessingSettings

    other = build_defs(Settings(processing=ProcessingSettings(thumbnail_sizes=(64,))))
    versions = [
        {
            name: one.resolve_asset_graph().get(dg.AssetKey(name)).code_version
            for name in ("text", "thumbnails")
        }
        for one in (defs, other)
    ]
    assert versions[0]["text"] == versions[1]["text"]
    assert versions[0]["thumbnails"] != versions[1]["thumbnails"]


def test_sensors_run_from_the_start(defs):
    sensors = {sensor.name: sensor for sensor in defs.sensors}
    assert set(sensors) == {
        "media_events_sensor", "outbox_relay_sensor", "run_failures_sensor",
        "retirement_sensor", "run_retention_sensor", "scaling_sensor", "stragglers_sensor",
    }  # fmt: skip
    assert {one.default_status for one in sensors.values()} == {dg.DefaultSensorStatus.RUNNING}


def test_overrides_replace_resources():
    marker = object()
    defs = build_defs(
        Settings(),
        resource_overrides={"event_sink": dg.ResourceDefinition.hardcoded_resource(marker)},
    )
    assert isinstance(defs.resources["event_sink"], dg.ResourceDefinition)
