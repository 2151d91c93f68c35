"""One reading of the pause flags for everybody: sensor, replays, status."""

import pytest

from media_pipeline.domain.recovery import Controls, Flag, flag_name, means_pause, scope_of


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"paused": True}, True), ({"paused": False}, False), (False, False), (None, False),
        (True, True), ({}, True), ({"state": "paused"}, True), ("paused", True), (1, True),
    ],
)  # fmt: skip
def test_a_flag_of_another_form_pauses_to_be_on_the_safe_side(value, expected):
    assert means_pause(value) is expected


def test_pauses_are_found_by_scope_and_other_flags_are_none():
    def flag(name, value):
        return Flag(name, value, "because", "otto", 1.0)

    controls = Controls(
        (
            flag("pause", {"paused": False}), flag("pause:workload:ocr", {"paused": True}),
            flag("pause:bucket:media", {"paused": True}), flag("canary", True),
        )
    )  # fmt: skip
    assert controls.paused_scopes() == ["workload:ocr", "bucket:media"]
    assert controls.pause() is None
    assert controls.pause("workload:ocr") is not None
    assert controls.pause("workload:text") is None


@pytest.mark.parametrize("scope", ["all", "workload:ocr", "bucket:a:b"])
def test_a_scope_and_its_flag_belong_together(scope):
    assert scope_of(flag_name(scope)) == scope
