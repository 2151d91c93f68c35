"""Every variable of ours that a file names is a setting: a misspelt one would set nothing."""

import re
from pathlib import Path

import pytest

from media_pipeline.settings import Settings, unknown_variables

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("deploy", "dagster_home", "scripts", "Makefile", "README.md", "CHANGELOG.md")
NAME = re.compile(r"MEDIA_PIPELINE_[A-Z][A-Z0-9_]*")


def files() -> list[Path]:
    below = [one for place in PLACES for one in [ROOT / place, *(ROOT / place).rglob("*")]]
    return [one for one in below if one.is_file() and one.suffix != ".pyc"]


def names_in(text: str) -> set[str]:
    """`MEDIA_PIPELINE_TELEMETRY__*` names a group: its first field stands for it."""
    found = set()
    for name in NAME.findall(text):
        group = name.removeprefix("MEDIA_PIPELINE_").removesuffix("__").lower()
        if name.endswith("__") and group in Settings.model_fields:
            field = next(iter(Settings.model_fields[group].annotation.model_fields))
            found.add(f"{name}{field.upper()}")
        else:
            found.add(name)
    return found


@pytest.mark.parametrize("place", PLACES)
def test_variables_that_files_name_are_settings(place):
    mine = [file for file in files() if file.relative_to(ROOT).parts[0] == place]
    assert mine
    wrong = {
        str(file.relative_to(ROOT)): unknown
        for file in mine
        if (unknown := unknown_variables(names_in(file.read_text())))
    }
    assert wrong == {}


def test_somewhere_many_are_named():
    named = set().union(*(names_in(file.read_text()) for file in files()))
    assert len(named) > 40
    assert "MEDIA_PIPELINE_CANARY__SHARE" in named
