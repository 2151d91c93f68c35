"""The comparison on tables: who flips which way, what is counted where, which examples are kept."""

import json

import pytest

from media_pipeline.models.comparison import (
    BINS,
    Comparison,
    Failed,
    Judgement,
    Pair,
    levels_of,
    spread,
)
from media_pipeline.processing.moderation import verdict_of

CURRENT = {"nsfw": {"review": 0.2, "block": 0.8}}
STRICT = {"nsfw": {"review": 0.1, "block": 0.5}}


def judged(score, thresholds=CURRENT, seconds=0.01, **more) -> Judgement:
    scores = {"nsfw": score, "sfw": round(1 - score, 4), **more}
    return Judgement(
        verdict_of(scores, thresholds),
        scores,
        levels_of(scores, thresholds),
        seconds,
        "cpu float32",
    )


def compared(*rows, examples=24):
    """(asset id, current, candidate) each."""
    comparison = Comparison(examples)
    for asset_id, current, candidate in rows:
        comparison.add(Pair(asset_id, current, candidate, None, asset_id.encode()))
    return comparison.summary()


@pytest.mark.parametrize(
    ("before", "after", "move", "stricter", "laxer"),
    [
        (0.1, 0.1, "allow>allow", 0, 0),
        (0.1, 0.2, "allow>review", 1, 0),
        (0.1, 0.9, "allow>block", 1, 0),
        (0.5, 0.9, "review>block", 1, 0),
        (0.9, 0.5, "block>review", 0, 1),
        (0.9, 0.0, "block>allow", 0, 1),
        (0.3, 0.1, "review>allow", 0, 1),
    ],
)
def test_every_move_has_its_direction(before, after, move, stricter, laxer):
    found = compared(("a", judged(before), judged(after)))
    assert found.moves == {move: 1}
    assert (found.flips, found.stricter, found.laxer) == (stricter + laxer, stricter, laxer)


def test_other_thresholds_flip_the_same_scores():
    scores = (0.05, 0.15, 0.3, 0.6, 0.9)
    found = compared(*((f"a{score}", judged(score), judged(score, STRICT)) for score in scores))
    assert found.moves == {
        "allow>allow": 1, "allow>review": 1, "review>review": 1, "review>block": 1,
        "block>block": 1,
    }  # fmt: skip
    nsfw, sfw = found.labels
    assert nsfw.flips == {"allow>review": 1, "review>block": 1}
    assert nsfw.difference.highest == 0
    assert sfw.flips == {}, "no thresholds, no verdict of its own"
    assert [one["asset_id"] for one in found.flipped] == ["a0.15", "a0.6"]


def test_scores_fall_into_bins_and_one_is_in_the_last():
    found = compared(
        ("a", judged(0.0), judged(1.0)),
        ("b", judged(0.049), judged(0.05)),
        ("c", judged(0.5), judged(0.5)),
    )
    (nsfw,) = [one for one in found.labels if one.label == "nsfw"]
    current, candidate = (nsfw.histogram[side] for side in ("current", "candidate"))
    assert (current[0], current[10], sum(current)) == (2, 1, 3)
    assert (candidate[1], candidate[10], candidate[BINS - 1], sum(candidate)) == (1, 1, 1, 3)
    assert nsfw.difference.highest == 1.0


def test_labels_that_one_model_alone_has_are_shown_and_not_compared():
    found = compared(("a", judged(0.1), judged(0.1, gore=0.9)))
    (gore,) = [one for one in found.labels if one.label == "gore"]
    assert list(gore.histogram) == ["candidate"]
    assert gore.difference.count == 0
    assert found.worst == ()


def test_the_worst_come_first_and_no_more_than_asked_for():
    rows = [
        ("near", judged(0.10), judged(0.11)),
        ("let-through", judged(0.9), judged(0.1)),
        ("held-back", judged(0.05), judged(0.95)),
        ("one-step-up", judged(0.19), judged(0.21)),
        ("one-step-down", judged(0.21), judged(0.19)),
        ("far-without-flip", judged(0.25), judged(0.75)),
        ("same", judged(0.3), judged(0.3)),
    ]
    order = ["let-through", "held-back", "one-step-down", "one-step-up", "far-without-flip", "near"]
    for examples in (0, 1, 3, 24):
        found = compared(*rows, examples=examples)
        assert [one.asset_id for one in found.worst] == order[:examples]
        assert all(one.picture == one.asset_id.encode() for one in found.worst)
    assert compared(*reversed(rows)).worst == compared(*rows).worst


def test_failures_are_told_by_model_and_are_no_verdicts():
    gone, slow = Failed("object_missing", "gone"), Failed("timeout", "slow")
    found = compared(
        ("gone", gone, gone),
        ("new-fails", None, slow),
        ("old-fails", slow, judged(0.1)),
        ("both", slow, gone),
        ("fine", judged(0.1), judged(0.1)),
    )
    assert found.compared == 1
    assert found.left_out == {"object_missing": ["gone"], "timeout": ["both"]}
    assert found.failed == {
        "candidate": {"timeout": ["new-fails"]},
        "current": {"timeout": ["old-fails"]},
    }
    assert (found.flips, found.regressions) == (0, 1)


def test_what_the_ledger_says_is_held_against_the_current_model():
    comparison = Comparison()
    for name, recorded in (("same", "allow"), ("other", "block"), ("unknown", None)):
        comparison.add(Pair(name, judged(0.1), judged(0.1), recorded))
    assert comparison.summary().recorded_differs == 1


def test_latency_is_that_of_each_model():
    found = compared(
        *(
            (str(n), judged(0.1, seconds=n / 100), judged(0.1, seconds=n / 10))
            for n in range(1, 101)
        )
    )
    assert (found.latency["current"].p50, found.latency["candidate"].p50) == (0.5, 5.0)
    assert found.latency["candidate"].p95 == 9.5
    assert found.ran_on["current"] == {"cpu float32": 100}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (0, None, None, None, None)),
        ([7.0], (1, 7.0, 7.0, 7.0, 7.0)),
        ([2.0, 1.0], (2, 1.0, 2.0, 2.0, 2.0)),
        ([float(n) for n in range(1, 201)], (200, 100.0, 190.0, 198.0, 200.0)),
    ],
)
def test_quantiles_are_values_that_were_measured(values, expected):
    found = spread(values)
    assert (found.count, found.p50, found.p95, found.p99, found.highest) == expected


def test_an_empty_comparison_is_a_summary_too():
    found = compared()
    assert (found.compared, found.flips, found.labels, found.worst) == (0, 0, (), ())
    json.dumps(found.moves)
