"""The ledgers under contract: in memory, the stand-in, and PostgREST where there is one."""

import os

import pytest

from media_pipeline.settings import LedgerSettings, Settings
from resources.credentials import SettingsCredentials
from resources.metadata_store import PostgrestMetadataStore
from resources.postgrest_client import PostgrestClient
from tests.fakes.metadata_store import FakeMetadataStore

REAL_URL = os.environ.get("POSTGREST_URL")
REAL_TOKEN = os.environ.get("POSTGREST_TOKEN")


def client_for(url: str, token: str) -> PostgrestClient:
    settings = Settings(ledger=LedgerSettings(url=url, token=token))
    return PostgrestClient(url, SettingsCredentials(settings), schema="media")


#: What suites are run against; `SERVERS` are those that speak PostgREST.
SERVERS = ("stand-in", *(["postgrest"] if REAL_URL else []))
LEDGERS = ("fake", *SERVERS)


def client_of(request) -> PostgrestClient:
    """Of the server that a fixture with one of `SERVERS` as its parameter is for."""
    if request.param == "postgrest":
        return client_for(REAL_URL, REAL_TOKEN)
    stack = request.getfixturevalue("stack")
    return client_for(stack.ledger_url, stack.ledger_token)


@pytest.fixture(params=LEDGERS)
def ledger(request):
    if request.param == "fake":
        return FakeMetadataStore()
    return PostgrestMetadataStore(client_of(request), page_rows=500)
