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


@pytest.fixture(params=["fake", "stand-in", *(["postgrest"] if REAL_URL else [])])
def ledger(request):
    if request.param == "fake":
        return FakeMetadataStore()
    if request.param == "postgrest":
        return PostgrestMetadataStore(client_for(REAL_URL, REAL_TOKEN), page_rows=500)
    stack = request.getfixturevalue("stack")
    return PostgrestMetadataStore(client_for(stack.ledger_url, stack.ledger_token), page_rows=500)
