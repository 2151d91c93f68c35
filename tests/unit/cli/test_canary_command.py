"""`models canary` and the import of candidates: what is refused, and how it is said."""

from types import SimpleNamespace

import pytest
import typer

from media_pipeline.cli.canary_command import chosen, compare, default_folder
from media_pipeline.cli.model_import import thresholds_of
from media_pipeline.errors import SystemicError
from media_pipeline.models.registry import Registry, save_registry
from media_pipeline.settings import ModerationSettings, Settings
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.sample_store import FakeSampleStore
from tests.unit.models.test_registry import NEW, OLD


def settings_with(tmp_path, registry) -> Settings:
    path = tmp_path / "models.json"
    save_registry(path, registry)
    return Settings(moderation=ModerationSettings(registry_file=str(path)))


def test_the_two_models_come_from_the_registry(tmp_path):
    settings = settings_with(tmp_path, Registry(OLD, (), (NEW,)))
    assert chosen(settings, "new") == {"current": OLD, "candidate": NEW}


@pytest.mark.parametrize(
    ("registry", "reference", "code"),
    [
        (Registry(), "new", "model_missing"),
        (Registry(OLD), "old", "canary_same_model"),
        (Registry(OLD), "new", "model_unknown"),
    ],
)
def test_without_two_models_there_is_nothing_to_compare(tmp_path, registry, reference, code):
    with pytest.raises(SystemicError) as caught:
        chosen(settings_with(tmp_path, registry), reference)
    assert caught.value.code == code


def test_an_empty_ledger_is_said_before_anything_is_fetched(tmp_path):
    store = FakeObjectStore()
    world = SimpleNamespace(samples=FakeSampleStore(FakeMetadataStore()), object_store=store)
    with pytest.raises(SystemicError, match="no media asset with a moderation verdict") as caught:
        compare(Settings(), world, {"current": OLD, "candidate": NEW}, 10, "1", 5)
    assert caught.value.code == "canary_empty"


def test_the_folder_is_named_after_the_candidate():
    assert default_folder(NEW) == "canary-new@newnewnewnew"


@pytest.mark.parametrize(
    "text",
    ["nsfw", "nsfw=0.2", "nsfw=0.9:0.1", "nsfw=a:b", "nsfw=-1:2", "other=0.1:0.2", "nsfw=nan:1"],
)
def test_thresholds_that_make_no_sense_are_refused(text):
    with pytest.raises(typer.BadParameter):
        thresholds_of([text], ["sfw", "nsfw"])


def test_thresholds_by_label():
    assert thresholds_of(["nsfw=0.2:0.8", "sfw=0:1"], ["sfw", "nsfw"]) == {
        "nsfw": {"review": 0.2, "block": 0.8},
        "sfw": {"review": 0.0, "block": 1.0},
    }
