import pytest

from media_pipeline.dead_letters.grouping import error_fingerprint, grouped, normalised
from media_pipeline.domain.dead_letters import Letter


def letter(message, number=0, code="invalid", asset_id=None, **more):
    return Letter(
        dlq_id=f"id-{number}", stage="text", code=code, message=message, topic="t", partition=0,
        offset=number, timestamp_ms=0, first_failed_at=f"2026-01-0{number + 1}T00:00:00.000Z",
        last_failed_at=f"2026-01-0{number + 1}T01:00:00.000Z", asset_id=asset_id, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("media/uploads/a 1.pdf does not exist", "media/uploads/b.pdf does not exist"),
        ("page 3 of 12 is broken", "page 11 of 400 is broken"),
        ("etag is 0123456789abcdef0123", "etag is fedcba9876543210ffff"),
        ("run 76b1b46f-3f30-5038-aacb-e6b1a6b46291", "run 0a3c5b27-b860-5d93-9a13-827471911a16"),
        ("key 'x' differs", 'key "something else" differs'),
        ("since 2026-01-01T10:00:00Z", "since 2025-12-31 23:59:59.123+01:00"),
        ("took 1.5 s", "took 20 s"),
        ("Not  a PDF", "not a pdf\n"),
    ],
)
def test_what_differs_from_asset_to_asset_is_masked(one, other):
    assert error_fingerprint(letter(one)) == error_fingerprint(letter(other))


def test_the_media_assets_own_names_are_masked():
    one = letter("harbour.final is broken", asset_id="harbour.final")
    other = letter("meeting is broken", asset_id="meeting")
    assert normalised(one) == normalised(other) == "<id> is broken"


@pytest.mark.parametrize("other", ["it is encrypted", "the file is defaced", "added facade"])
def test_words_are_no_ids(other):
    assert error_fingerprint(letter("the file is broken")) != error_fingerprint(letter(other))
    assert "<digest>" not in normalised(letter(other))


def test_stage_and_code_tell_causes_apart():
    assert error_fingerprint(letter("x")) != error_fingerprint(letter("x", code="empty"))


def test_groups_count_and_remember_when_and_which():
    letters = [letter(f"page {number}", number) for number in range(5)]
    letters.append(letter("other", 6, state="discarded"))
    first, second = grouped(letters)
    assert (first.count, first.states, second.states) == (5, {"open": 5}, {"discarded": 1})
    assert first.samples == ["id-0", "id-1", "id-2"]
    assert (first.first_seen[:10], first.last_seen[:10]) == ("2026-01-01", "2026-01-05")
    assert first.example == "page 0"


def test_a_hostile_message_costs_little_and_breaks_nothing():
    assert len(error_fingerprint(letter("\ud800" + "/a" * 1_000_000 + "'" * 10_000))) == 12
