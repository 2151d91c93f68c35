"""The registry: one current model, a way forward and a way back."""

from dataclasses import replace

import pytest

from media_pipeline.errors import SystemicError
from media_pipeline.models.registry import ModelManifest, Registry, load_registry, save_registry


def manifest(name: str) -> ModelManifest:
    return ModelManifest(
        name, "1", f"models/{name}.pt", name * 8, 10, ("a", "b"), (1.0, 2.0, 3.0), 256, 224,
        True, {"a": {"review": 0.2, "block": 0.8}},
    )  # fmt: skip


OLD, NEW = manifest("old"), manifest("new")


def test_the_first_model_is_current_and_the_next_one_a_candidate():
    registry = Registry().with_candidate(OLD).with_candidate(NEW).with_candidate(NEW)
    assert registry == Registry(OLD, (), (NEW,))


def test_promotion_and_the_way_back():
    promoted = Registry(OLD, (), (NEW,)).promoted("new")
    assert promoted == Registry(NEW, (OLD,), ())
    assert promoted.promoted(NEW.sha256) == promoted
    assert promoted.rolled_back() == Registry(OLD, (), (NEW,))


def test_there_is_not_always_a_way_back():
    with pytest.raises(SystemicError, match="model_unknown"):
        Registry(OLD).rolled_back()


def test_a_name_that_nothing_has_lists_what_there_is():
    with pytest.raises(SystemicError, match=OLD.reference):
        Registry(OLD).promoted("other")


def test_the_file_keeps_everything(tmp_path):
    registry = Registry(OLD, (replace(OLD, version="0"),), (NEW,))
    save_registry(tmp_path / "models.json", registry)
    assert load_registry(tmp_path / "models.json") == registry
    assert [path.name for path in tmp_path.iterdir()] == ["models.json"]


def test_no_file_is_an_empty_registry(tmp_path):
    assert load_registry(tmp_path / "none.json") == load_registry(None) == Registry()


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 9}', '{"schema": 1, "current": {"x": 1}}'])
def test_a_broken_file_is_said(tmp_path, text):
    (tmp_path / "models.json").write_text(text)
    with pytest.raises(SystemicError, match="registry_broken"):
        load_registry(tmp_path / "models.json")


def test_candidates_of_one_file_are_told_apart_by_version():
    strict, lax = replace(NEW, version="strict"), replace(NEW, version="lax")
    registry = Registry(OLD, (), (strict, lax))
    assert registry.find("new:lax") == lax
    with pytest.raises(SystemicError, match="new:strict or") as caught:
        registry.find("new")
    assert caught.value.code == "model_ambiguous"
    assert registry.promoted("new:strict").find("new") == lax, "candidates before the current one"


def test_a_registry_of_an_earlier_release_is_read(tmp_path):
    """Without channels and deviation: as models were fed then."""
    import json

    save_registry(tmp_path / "models.json", Registry(OLD))
    document = json.loads((tmp_path / "models.json").read_text())
    del document["current"]["channels"], document["current"]["deviation"]
    (tmp_path / "models.json").write_text(json.dumps(document))
    assert load_registry(tmp_path / "models.json") == Registry(OLD)
