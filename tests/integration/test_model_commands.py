"""`media-pipeline models`: import, list, promote, roll back, on a real object store."""

import hashlib

import pytest
from typer.testing import CliRunner

from media_pipeline.cli.main import app
from media_pipeline.errors import SystemicError
from media_pipeline.models.registry import load_registry


@pytest.fixture
def registry(stack, tmp_path, monkeypatch):
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "models.json"
    monkeypatch.setenv("MEDIA_PIPELINE_MODERATION__REGISTRY_FILE", str(path))
    return path


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["models", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_model_is_imported_listed_promoted_and_rolled_back(registry, stack):
    from dataclasses import replace

    from media_pipeline.models.registry import save_registry
    from resources.build import build_object_store

    assert "no models" in run("list")
    assert "is current" in run("import", "opennsfw")
    entry = load_registry(registry).current
    stored = build_object_store(stack.settings()).get(entry.object_key)
    assert hashlib.sha256(stored).hexdigest() == entry.sha256
    assert "is current" in run("import", "opennsfw"), "the same model once more changes nothing"
    assert load_registry(registry).candidates == ()

    strict = replace(entry, name="strict", sha256="f" * 64)
    save_registry(registry, load_registry(registry).with_candidate(strict))
    assert "strict@ffffffffffff" in run("list")
    assert "current: strict@ffffffffffff" in run("promote", "strict")
    assert f"current: {entry.reference}" in run("rollback")


def test_without_a_registry_file_it_says_what_to_set(registry, monkeypatch):
    monkeypatch.delenv("MEDIA_PIPELINE_MODERATION__REGISTRY_FILE")
    with pytest.raises(SystemicError, match="registry_unset"):
        CliRunner().invoke(app, ["models", "list"], catch_exceptions=False)
