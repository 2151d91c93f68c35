"""What operators ask of a ledger, in memory and real."""

import os
import uuid

import pytest

from resources.metadata_store import PostgrestMetadataStore
from resources.operations_ledger import PostgrestOperationsLedger
from tests.contract.metadata_store.conftest import REAL_TOKEN, REAL_URL, client_for
from tests.fakes import ledger_story
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.operations_ledger import FakeOperationsLedger


@pytest.fixture(
    params=["fake", "stand-in", *(["postgrest"] if os.environ.get("POSTGREST_URL") else [])]
)
def stores(request):
    """(ledger, what operators ask of it)."""
    if request.param == "fake":
        ledger = FakeMetadataStore()
        return ledger, FakeOperationsLedger(ledger)
    if request.param == "postgrest":
        client = client_for(REAL_URL, REAL_TOKEN)
    else:
        stack = request.getfixturevalue("stack")
        client = client_for(stack.ledger_url, stack.ledger_token)
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
