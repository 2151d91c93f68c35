"""Ledger and what it remembers of recovery, over the same rows: in memory and for real."""

import psycopg
import pytest

from resources.metadata_store import PostgrestMetadataStore
from resources.recovery_store import PostgrestRecoveryStore
from tests.contract.metadata_store.conftest import LEDGERS, client_of
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.recovery_store import FakeRecoveryStore


@pytest.fixture(params=LEDGERS)
def stores(request):
    """(ledger, recovery)."""
    if request.param == "fake":
        ledger = FakeMetadataStore()
        return ledger, FakeRecoveryStore(ledger)
    client = client_of(request)
    return PostgrestMetadataStore(client, page_rows=500), PostgrestRecoveryStore(client)


@pytest.fixture
def hour_passes(request, stores):
    """For the breaker of that code: an hour later, as far as it knows."""
    ledger, _ = stores

    def passes(code):
        if isinstance(ledger, FakeMetadataStore):
            now = ledger.clock
            ledger.clock = lambda: now() + 3601
            return
        stack = request.getfixturevalue("stack")
        with psycopg.connect(stack.postgres_dsn) as database:
            database.execute(
                "update media.breaker set retry_at = retry_at - interval '1 hour',"
                " changed_at = changed_at - interval '1 hour' where code = %s",
                [code],
            )

    return passes
