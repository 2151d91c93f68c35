"""How a media asset ends, decided from its kinds: the whole table."""

import pytest

from media_pipeline.domain.outcome import Code, Derivative, verdict


def row(kind: str, code: Code) -> Derivative:
    return Derivative("a", "v", 1, kind, "fp", "d", 1, code, f"{kind} {code}", (), {}, 0.0)


@pytest.mark.parametrize(
    ("codes", "status", "stage", "code"),
    [
        ((Code.OK, Code.OK), "complete", "", ""),
        ((Code.OK, Code.NOT_APPLICABLE), "complete", "", ""),
        ((Code.NOT_APPLICABLE, Code.OK), "complete", "", ""),
        ((Code.INVALID, Code.OK), "partial", "text", "invalid"),
        ((Code.OK, Code.TIMEOUT), "partial", "thumbnails", "timeout"),
        ((Code.UNSUPPORTED, Code.UNSUPPORTED), "partial", "text", "unsupported"),
        ((Code.UNSUPPORTED, Code.OK), "partial", "text", "unsupported"),
        ((Code.NOT_APPLICABLE, Code.NOT_APPLICABLE), "partial", "text", "not_applicable"),
        ((Code.NOT_APPLICABLE, Code.INVALID), "dead_lettered", "thumbnails", "invalid"),
        ((Code.ENCRYPTED, Code.ENCRYPTED), "dead_lettered", "text", "encrypted"),
        ((Code.CRASH, Code.UNSUPPORTED), "dead_lettered", "text", "crash"),
        ((Code.OBJECT_MISSING, Code.OBJECT_MISSING), "dead_lettered", "text", "object_missing"),
        ((Code.OK, Code.TRANSIENT), "retry", "thumbnails", "transient"),
        ((Code.OK, Code.DEFERRED), "partial", "thumbnails", "deferred"),
        ((Code.NOT_APPLICABLE, Code.DEFERRED), "partial", "thumbnails", "deferred"),
        # The deferred kind may yet give something: too early for a dead letter.
        ((Code.INVALID, Code.DEFERRED), "partial", "text", "invalid"),
        ((Code.DEFERRED, Code.TRANSIENT), "retry", "thumbnails", "transient"),
        ((Code.INVALID, Code.TRANSIENT), "retry", "thumbnails", "transient"),
    ],
)
def test_verdict_table(codes, status, stage, code):
    decided = verdict([row("text", codes[0]), row("thumbnails", codes[1])])
    assert (decided.status, decided.stage, decided.code) == (status, stage, code)


def test_nothing_processed_is_no_verdict():
    assert verdict([]).status == "retry"


@pytest.mark.parametrize("code", list(Code))
def test_every_code_is_handled_or_permanent_or_comes_again(code):
    again = code in (Code.TRANSIENT, Code.DEFERRED)
    assert [code.handled, code.permanent, again].count(True) == 1
