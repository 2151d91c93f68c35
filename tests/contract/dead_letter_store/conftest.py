"""Ledger and dead letters over the same rows: in memory, the stand-in, and PostgREST."""

import pytest

from resources.dead_letter_store import PostgrestDeadLetterStore
from resources.metadata_store import PostgrestMetadataStore
from tests.contract.metadata_store.conftest import REAL_TOKEN, REAL_URL, client_for
from tests.fakes.dead_letter_store import FakeDeadLetterStore
from tests.fakes.metadata_store import FakeMetadataStore


@pytest.fixture(params=["fake", "stand-in", *(["postgrest"] if REAL_URL else [])])
def stores(request):
    """(ledger, its dead letters)."""
    if request.param == "fake":
        ledger = FakeMetadataStore()
        return ledger, FakeDeadLetterStore(ledger)
    if request.param == "postgrest":
        client = client_for(REAL_URL, REAL_TOKEN)
    else:
        stack = request.getfixturevalue("stack")
        client = client_for(stack.ledger_url, stack.ledger_token)
    return PostgrestMetadataStore(client, page_rows=500), PostgrestDeadLetterStore(client)
