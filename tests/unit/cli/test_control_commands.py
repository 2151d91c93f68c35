"""Which scope a pause has, and what `status` says of it."""

import pytest
from rich.console import Console

from media_pipeline.cli.control_commands import print_controls, scope_from
from media_pipeline.domain.recovery import Breaker, Controls, Flag
from media_pipeline.errors import PermanentError
from media_pipeline.settings import Settings


@pytest.mark.parametrize(
    ("workload", "bucket", "scope"),
    [(None, None, "all"), ("ocr", None, "workload:ocr"), (None, "media", "bucket:media")],
)
def test_scopes(workload, bucket, scope):
    assert scope_from(Settings(), workload, bucket) == scope


@pytest.mark.parametrize(
    ("workload", "bucket", "code", "says"),
    [
        ("occr", None, "unknown_workload", "text, thumbnails, ocr, moderation"),
        (None, "secret", "unknown_bucket", "media"),
        ("ocr", "media", "two_scopes", "one after the other"),
    ],
)
def test_a_scope_that_is_not_there(workload, bucket, code, says):
    with pytest.raises(PermanentError) as caught:
        scope_from(Settings(), workload, bucket)
    assert caught.value.code == code
    assert says in caught.value.remedy


def said(controls):
    console = Console(record=True, width=200)
    print_controls(controls, console)
    return console.export_text()


def test_an_open_intake_says_so():
    over = Flag("pause", {"paused": False}, "over", "ana", 0.0)
    assert "open; no pause, no breaker" in said(Controls((over,)))


def test_pauses_and_breakers_with_who_and_why():
    shown = said(
        Controls(
            (Flag("pause:bucket:scans", {"paused": True}, "[b]storm", "ana", 1_800_000_000.0),),
            (Breaker("bucket_missing", "open", "no bucket. Remedy: make it.", "r1", 1, 0.0, 9.6),),
        )
    )
    for part in (
        "paused: bucket:scans", "2027-01-15T08:00:00+00:00", "ana", "[b]storm",
        "breaker bucket_missing: open; probed in 10 s", "run r1", "Remedy: make it.",
    ):  # fmt: skip
        assert part in shown
