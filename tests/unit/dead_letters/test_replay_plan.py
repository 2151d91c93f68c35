from dataclasses import replace

import pytest

from media_pipeline.dead_letters.replay_plan import (
    REMEDIES,
    REPLAY_GUARD,
    ReplayRules,
    chosen,
    reason_to_leave,
    replay_event,
)
from media_pipeline.domain.media_asset import MessageRecord
from tests.unit.dead_letters.test_grouping import letter

USUAL = ReplayRules()


@pytest.mark.parametrize(
    ("changes", "reason", "allowing"),
    [
        ({"state": "replayed"}, "replayed", {"again": True}),
        ({"state": "discarded"}, "discarded", {"again": True}),
        ({"replay_count": REPLAY_GUARD}, "loop guard", {"beyond_guard": True}),
        ({"superseded": True}, "superseded", {"superseded": True}),
    ],
)
def test_what_is_left_has_a_reason_a_remedy_and_an_option(changes, reason, allowing):
    one = replace(letter("x"), **changes)
    assert reason_to_leave(one, USUAL) == reason
    assert reason in REMEDIES
    assert reason_to_leave(one, ReplayRules(**allowing)) is None


@pytest.mark.parametrize("state", ["open", "validated"])
def test_what_is_open_goes(state):
    one = replace(letter("x"), state=state, replay_count=REPLAY_GUARD - 1)
    assert reason_to_leave(one, USUAL) is None


def test_a_content_version_goes_once_and_a_journal_is_believed():
    same = {"asset_id": "a", "content_version": "1"}
    letters = [
        letter("x", 0, **same), letter("y", 1, **same), letter("z", 2), letter("z", 3),
        letter("z", 4, asset_id="a", content_version="2"),
    ]  # fmt: skip
    found = [reason for _, reason in chosen(letters, USUAL, {"id-3"})]
    assert found == [None, "same version", None, "done before", None]


def test_the_message_is_the_original_one_and_says_which_replay_it_is():
    headers = (("traceparent", b"00-1"), ("replay.id", b"old"), ("h", b"\xff"), ("h", b"2"))
    record = MessageRecord("in", 3, 7, 1, b"k", b"\x00bytes", headers)
    event = replay_event(replace(letter("x"), replay_count=1), record, "replay-9", "in")
    assert (event.topic, event.key, event.payload) == ("in", b"k", b"\x00bytes")
    assert event.headers == (
        ("traceparent", b"00-1"), ("h", b"\xff"), ("h", b"2"), ("replay.id", b"replay-9"),
        ("replay.count", b"2"),
    )  # fmt: skip
