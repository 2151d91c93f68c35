"""The ledger's figures: counted in the transaction of the outcome, once however often it comes.

The real ledger is shared: every test looks at differences, or at a processor of its own.
"""

import math
import uuid
from dataclasses import replace

import pytest

from media_pipeline.domain.outcome import Code, Derivative, Verdict
from media_pipeline.domain.ports import AssetResult, RejectedMessage
from media_pipeline.telemetry import metrics
from media_pipeline.telemetry.families import Samples, add_ledger
from resources.ledger_figures import PostgrestFigures
from resources.metadata_store import PostgrestMetadataStore
from tests.contract.metadata_store.conftest import SERVERS, client_for, client_of
from tests.fakes.ledger_story import VERSION, arrive, bury, record_of, run


@pytest.fixture(params=SERVERS)
def client(request):
    return client_of(request)


@pytest.fixture
def ledger(client):
    return PostgrestMetadataStore(client)


@pytest.fixture
def store(client):
    return PostgrestFigures(client)


@pytest.fixture
def name():
    return f"a-{uuid.uuid4().hex[:12]}"


def total(figures, figure, label=""):
    return sum(r["value"] for r in figures.totals if (r["figure"], r["label"]) == (figure, label))


def bucket(figures, figure, bound=math.inf):
    return sum(
        r["count"] for r in figures.buckets if (r["figure"], float(r["le"])) == (figure, bound)
    )


def processed(figures, processor, outcome):
    wanted = (processor, outcome)
    return sum(r["count"] for r in figures.processors if (r["processor"], r["outcome"]) == wanted)


def test_an_outcome_is_counted_once_with_its_bytes_and_its_batch(ledger, store, name):
    before = store.figures()
    arrive(ledger, name)
    run(ledger, name)
    after = store.figures()
    assert processed(after, "text", "ok") - processed(before, "text", "ok") == 1
    assert total(after, "input_bytes", "text") - total(before, "input_bytes", "text") == 5
    assert total(after, "output_bytes", "text") - total(before, "output_bytes", "text") == 7
    assert total(after, "batch_assets") - total(before, "batch_assets") == 1
    assert bucket(after, "batch_assets", 1) - bucket(before, "batch_assets", 1) == 1
    assert bucket(after, "asset_seconds") - bucket(before, "asset_seconds") == 1
    assert after.statuses["complete"] - before.statuses.get("complete", 0) == 1


def test_a_repeated_or_outdated_record_counts_nothing(ledger, store, name):
    """The reply was lost and the run records again; a zombie records with an old fence."""
    arrive(ledger, name)
    (zombie,) = ledger.claim("zombie", "zombie", [name])
    (claim,) = ledger.claim("run", "run", [name])
    from tests.contract.metadata_store.test_metadata_store import result

    assert ledger.record("run", [result(claim)], "1")[0].accepted
    before = store.figures()
    assert ledger.record("run", [result(claim)], "1")[0].accepted
    assert not ledger.record("zombie", [result(zombie)], "1")[0].accepted
    still = {"outbox_oldest": None, "oldest_unfinished": {}}  # others' ages go on
    assert replace(store.figures(), **still) == replace(before, **still)


def test_the_retry_of_a_run_that_died_after_recording_counts_nothing(ledger, store, name):
    arrive(ledger, name)
    run(ledger, name, run_id="first", root="first")
    before = store.figures()
    run(ledger, name, run_id="second", root="first")
    after = store.figures()
    assert after.processors == before.processors
    assert total(after, "output_bytes", "text") == total(before, "output_bytes", "text")


def test_of_an_attempt_that_is_retried_only_what_was_transient_counts(ledger, store, name):
    def counts():
        figures = store.figures()
        wanted = (("text", "transient"), ("text", "ok"), ("thumbnails", "ok"))
        return [processed(figures, *one) for one in wanted]

    before = counts()
    arrive(ledger, name)
    for number, (code, status) in enumerate(((Code.TRANSIENT, "retry"), (Code.OK, "complete"))):
        (claim,) = ledger.claim(f"{name}-{number}", name, [name])
        rows = tuple(
            Derivative(name, VERSION, claim.fence, kind, "1", None, 5, one, "", (), {}, 0.1)
            for kind, one in (("text", code), ("thumbnails", Code.OK))
        )
        found = AssetResult(name, VERSION, claim.fence, Verdict(status), None, 5, rows)
        assert ledger.record(f"{name}-{number}", [found], "1")[0].accepted
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [1, 1, 1]


def test_a_backfill_counts_its_work_and_no_waiting(ledger, store, name):
    arrive(ledger, name)
    run(ledger, name)
    before = store.figures()
    run(ledger, name)
    after = store.figures()
    assert processed(after, "text", "ok") - processed(before, "text", "ok") == 1
    assert bucket(after, "asset_seconds") == bucket(before, "asset_seconds")


def test_rejected_messages_are_counted_by_code_and_once(ledger, store, name):
    code = f"code-{name}"
    message = RejectedMessage(record_of(name), "contract", code, "no JSON")
    ledger.reject([message], "1")
    ledger.reject([message], "1")
    figures = store.figures()
    assert total(figures, "rejected", code) == 1
    (letters,) = [row for row in figures.dead_letters if row["code"] == code]
    assert (letters["stage"], letters["count"]) == ("contract", 1)


def test_an_enriched_media_asset_closes_its_letter(ledger, store, name):
    def open_letters():
        rows = store.figures().dead_letters
        return sum(r["count"] for r in rows if (r["stage"], r["code"]) == ("text", "empty"))

    before = open_letters()
    bury(ledger, name, "empty")
    assert open_letters() == before + 1
    run(ledger, name)
    assert open_letters() == before


def test_a_replay_waits_anew_however_old_its_row_is(ledger, store, stack, name):
    import psycopg

    bury(ledger, name)
    with psycopg.connect(stack.postgres_dsn) as connection:
        connection.execute(
            "update media.media_asset set created_at = now() - interval '9 days',"
            " waiting_since = now() - interval '9 days' where asset_id = %s", (name,)
        )  # fmt: skip
    arrive(ledger, name, record_of(name, (("replay.id", b"r1"), ("replay.count", b"1"))))
    assert 0 <= store.figures().oldest_unfinished["live"] < 8 * 86_400
    run(ledger, name)


def test_the_oldest_unfinished_is_told_until_it_ends(ledger, store, stack, name):
    import psycopg

    arrive(ledger, name)
    with psycopg.connect(stack.postgres_dsn) as connection:
        connection.execute(
            "update media.media_asset set waiting_since = now() - interval '30 days'"
            " where asset_id = %s", (name,)
        )  # fmt: skip
    assert store.figures().oldest_unfinished["live"] >= 30 * 86_400
    (claim,) = ledger.claim("r", "r", [name])
    from tests.contract.metadata_store.test_metadata_store import result

    waits = replace(result(claim), verdict=Verdict("retry", "text", "transient", ""), event=None)
    ledger.record("r", [waits], "1")
    assert store.figures().oldest_unfinished["live"] >= 30 * 86_400
    ledger.record("r", [result(claim)], "1")
    assert store.figures().oldest_unfinished.get("live", 0) < 30 * 86_400


def test_bounds_of_the_ledger_are_those_of_the_registry(ledger, store, name):
    """`Samples` refuses a bound that it does not know; here the other direction too."""
    arrive(ledger, name)
    run(ledger, name)
    figures = store.figures()
    add_ledger(Samples(), figures, ())
    longest = max(metrics.DURATION.buckets)
    assert {float(r["le"]) for r in figures.durations} >= {longest, math.inf}
    for figure, metric in (
        ("batch_assets", metrics.BATCH_ASSETS), ("asset_seconds", metrics.ASSET_SECONDS),
    ):  # fmt: skip
        seen = {float(r["le"]) for r in figures.buckets if r["figure"] == figure}
        assert seen == {*metric.buckets, math.inf}


def test_a_reader_may_ask(stack):
    client = client_for(stack.ledger_url, stack.reader_token)
    assert PostgrestFigures(client).figures().outbox_rows >= 0
