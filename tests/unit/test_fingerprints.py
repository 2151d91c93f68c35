"""The fingerprint of moderation: nothing that moves a score or a verdict is left out of it."""

from dataclasses import fields, replace

import pytest

from media_pipeline.fingerprints import moderation_fingerprint
from media_pipeline.settings import Settings
from tests.unit.models.test_registry import OLD

MOVES = {
    "sha256": "f" * 64, "labels": ("b", "a"), "mean": (9.0, 2.0, 3.0), "resize": 300, "crop": 200,
    "jpeg_round_trip": False, "thresholds": {"a": {"review": 0.3, "block": 0.8}},
    "channels": "rgb", "deviation": (2.0, 1.0, 1.0),
}  # fmt: skip
SAYS_NOTHING = {"name", "version", "object_key", "size_bytes", "source"}


def test_every_field_is_sorted_out():
    assert {one.name for one in fields(OLD)} == MOVES.keys() | SAYS_NOTHING


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_a_verdict_is_another_fingerprint(name):
    changed = replace(OLD, **{name: MOVES[name]})
    assert moderation_fingerprint(Settings(), changed) != moderation_fingerprint(Settings(), OLD)


def test_another_name_for_the_same_is_the_same():
    renamed = replace(OLD, name="other", version="9", object_key="models/other.pt")
    assert moderation_fingerprint(Settings(), renamed) == moderation_fingerprint(Settings(), OLD)
