"""Lifetimes of what a real OpenBao hands out."""

from resources.credential_lifetimes import seconds_left
from resources.credentials import StoredCredentials, WorkloadIdentity


def test_a_login_and_an_opaque_ledger_token(corner):
    corner.write(ledger_token="opaque")
    left = seconds_left(StoredCredentials(corner.settings(**corner.approle())))
    assert set(left) == {"vault_token"}
    assert left["vault_token"] > 0


def test_everything_that_an_identity_is_exchanged_for(corner):
    settings = corner.stack.settings()
    left = seconds_left(WorkloadIdentity(settings.vault, settings.object_store))
    assert left["ledger_token"] > 0
    assert left["object_store_keys"] > 0
