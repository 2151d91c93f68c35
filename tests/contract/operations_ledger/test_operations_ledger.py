"""What operators ask of a ledger, in memory and real."""

import dataclasses
import uuid

import pytest

from media_pipeline.domain.operations import ScoreHistory
from resources.metadata_store import PostgrestMetadataStore
from resources.operations_ledger import PostgrestOperationsLedger
from tests.contract.metadata_store.conftest import LEDGERS, client_of
from tests.contract.metadata_store.test_metadata_store import arrival, derivative, result
from tests.fakes import ledger_story
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.operations_ledger import FakeOperationsLedger


@pytest.fixture(params=LEDGERS)
def stores(request):
    """(ledger, what operators ask of it)."""
    if request.param == "fake":
        ledger = FakeMetadataStore()
        return ledger, FakeOperationsLedger(ledger)
    client = client_of(request)
    return PostgrestMetadataStore(client), PostgrestOperationsLedger(client, page_rows=2)


@pytest.fixture
def names():
    prefix = f"o-{uuid.uuid4().hex[:10]}"
    return [f"{prefix}-{number}" for number in range(5)]


def test_what_has_ended_is_retirable_in_the_order_asked(stores, names):
    ledger, operations = stores
    for name in names[:3]:
        ledger_story.arrive(ledger, name)
        ledger_story.run(ledger, name)
    ledger_story.bury(ledger, names[3])
    asked = list(reversed([*names, "unheard-of"]))
    assert operations.retirable(asked, idle_seconds=0) == list(reversed(names[:4]))
    assert operations.retirable(asked, idle_seconds=60) == []
    assert operations.retirable([], idle_seconds=0) == []


def test_what_waits_or_is_worked_on_is_not(stores, names):
    ledger, operations = stores
    _, claimed, again, backfilled = names[:4]
    for name in names[:4]:
        ledger_story.arrive(ledger, name)
    run = uuid.uuid4().hex
    ledger.claim(run, run, [claimed])
    for name in (again, backfilled):
        ledger_story.run(ledger, name)
    ledger_story.arrive(ledger, again, version="sha256:2")
    ledger.claim(run, run, [backfilled])
    assert operations.retirable(names[:4], idle_seconds=0) == [backfilled]
    assert operations.retirable([backfilled], idle_seconds=60) == [], "claimed just now"


def test_score_history_is_of_one_model_and_label(stores, names):
    ledger, operations = stores
    kind = f"kind-{uuid.uuid4().hex[:8]}"
    for number, name in enumerate(names[:3]):
        scores = {"scores": {"nsfw": number / 10}} if number else {"verdict": "allow"}
        judged(ledger, name, kind, "model-1", scores)
    judged(ledger, names[3], kind, "model-2", {"scores": {"nsfw": 0.9}})
    found = operations.score_history(kind, "model-1", "nsfw", days=1)
    assert (found.count, found.mean) == (2, pytest.approx(0.15))
    assert found.deviation == pytest.approx(0.0707, abs=1e-3)
    assert operations.score_history(kind, "model-1", "other", days=1) == ScoreHistory(0)
    assert operations.score_history(kind, "model-2", "nsfw", days=1).deviation is None
    assert operations.score_history(kind, "model-1", "nsfw", days=0).count == 0


def judged(ledger, name, kind, fingerprint, attributes):
    ledger.register([arrival(name)])
    run = uuid.uuid4().hex
    (claim,) = ledger.claim(run, run, [name])
    row = derivative(name, claim.fence, kind=kind)
    row = dataclasses.replace(row, fingerprint=fingerprint, attributes=attributes)
    ledger.record(run, [dataclasses.replace(result(claim), derivatives=(row,))], "1")


def test_the_columns_that_dagster_shows_are_those_of_the_table(stack):
    import psycopg

    from media_pipeline.assets.ledger_table import LEDGER_TABLE, ledger_columns

    with psycopg.connect(stack.postgres_dsn) as connection:
        rows = connection.execute(
            "select column_name, data_type, is_nullable = 'YES' from information_schema.columns"
            " where table_schema || '.' || table_name = %s order by ordinal_position",
            [LEDGER_TABLE],
        ).fetchall()
    shown = [(one.name, one.type, one.constraints.nullable) for one in ledger_columns().columns]
    assert shown == rows


def test_days_count_what_was_recorded(stores, names):
    ledger, operations = stores
    kind = f"kind-{uuid.uuid4().hex[:8]}"
    for name in names[:3]:
        judged(ledger, name, kind, "1", {})
    rows = [row for row in operations.daily_outcomes(1) if row.kind == kind]
    assert [(row.outcome, row.count) for row in rows] == [("ok", 3)]
    assert rows[0].seconds == pytest.approx(0.75)
    judged(ledger, names[3], kind, "1", {})
    rows = [row for row in operations.daily_outcomes(1) if row.kind == kind]
    assert [(row.outcome, row.count) for row in rows] == [("ok", 4)]


def test_a_file_is_all_versions_newest_first_with_their_letters(stores, names):
    ledger, operations = stores
    name = names[0]
    dlq_id = ledger_story.bury(ledger, name)
    ledger_story.arrive(ledger, name, version="sha256:2")
    newest, oldest = operations.asset_file(name)
    assert (newest.content_version, newest.status, newest.finished_at) == (
        "sha256:2", "registered", None,
    )  # fmt: skip
    assert (oldest.status, oldest.stage, oldest.code) == ("dead_lettered", "text", "invalid")
    assert [dict(one) for one in oldest.letters] == [
        {"dlq_id": dlq_id, "stage": "text", "code": "invalid", "state": "open"}
    ]
    assert (oldest.bucket, oldest.object_key) == ("media", f"in/{name}")
    assert (oldest.attempts, oldest.kafka_partition) == (1, 2)
    assert oldest.run_id
    assert operations.asset_file("unheard-of") == []


def test_what_ended_last_comes_first(stores, names):
    ledger, operations = stores
    for name in names[:3]:
        ledger_story.arrive(ledger, name)
    for name in names[:2]:
        ledger_story.run(ledger, name)
    found = operations.ended_lately(2)
    assert [(one.asset_id, one.status) for one in found] == [
        (names[1], "complete"), (names[0], "complete"),
    ]  # fmt: skip
