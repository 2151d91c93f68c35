"""Ledger and dead letters over the same rows: in memory, the stand-in, and PostgREST."""

import pytest

from resources.dead_letter_store import PostgrestDeadLetterStore
from resources.metadata_store import PostgrestMetadataStore
from tests.contract.metadata_store.conftest import LEDGERS, client_of
from tests.fakes.dead_letter_store import FakeDeadLetterStore
from tests.fakes.metadata_store import FakeMetadataStore


@pytest.fixture(params=LEDGERS)
def stores(request):
    """(ledger, its dead letters)."""
    if request.param == "fake":
        ledger = FakeMetadataStore()
        return ledger, FakeDeadLetterStore(ledger)
    client = client_of(request)
    return PostgrestMetadataStore(client, page_rows=500), PostgrestDeadLetterStore(client)
