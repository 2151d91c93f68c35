"""What `replay` and `reconcile` refuse before they ask anybody."""

import pytest
from typer.testing import CliRunner

from media_pipeline.cli.main import app
from media_pipeline.errors import PermanentError


def run(*words):
    return CliRunner(env={"COLUMNS": "300"}).invoke(app, list(words))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say from where"),
        (("--from-offset", "0:1", "--from-time", "2h"), "say from where"),
        (("--from-time", "2h", "--from-snapshot", "--stale"), "say from where"),
        (("--from-time", "2h", "--status", "retry"), "belong to --from-snapshot"),
        (("--from-snapshot",), "would mean the whole ledger"),
        (("--from-snapshot", "--stale", "--to", "2h"), "--to ends a range of messages"),
        (("--from-snapshot", "--since", "yesterday"), "neither an instant"),
    ],
)
def test_a_replay_that_does_not_say_what(words, said):
    done = run("replay", *words)
    assert (done.exit_code, said in done.output) == (2, True), done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kind-missing", "sound"), "there are: text, thumbnails, ocr, moderation"),
        (("--outcome", "broken"), "there are: ok, "),
        (("--status", "done"), "there are: registered, "),
    ],
)
def test_words_that_mean_nothing_are_answered_with_those_that_do(words, said):
    done = run("replay", "--from-snapshot", *words)
    assert isinstance(done.exception, PermanentError)
    assert said in str(done.exception)


def test_an_empty_interval_is_refused():
    done = run("reconcile", "--since", "30m")
    assert (done.exit_code, "the interval is empty" in done.output) == (2, True), done.output
