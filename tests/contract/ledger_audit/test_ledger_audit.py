"""What every ledger must tell a reconciliation, whatever is behind it."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from media_pipeline.domain.ports import RejectedMessage
from media_pipeline.domain.reconciliation import Announced
from resources.ledger_audit import PostgrestLedgerAudit
from resources.metadata_store import PostgrestMetadataStore
from tests.contract.metadata_store.conftest import LEDGERS, client_of
from tests.contract.metadata_store.test_metadata_store import arrival, derivative, record, result
from tests.fakes.ledger_audit import FakeLedgerAudit
from tests.fakes.metadata_store import FakeMetadataStore

LONG_AGO, FAR = "2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"


@pytest.fixture(params=LEDGERS)
def stores(request):
    """(ledger, its audit)."""
    if request.param == "fake":
        ledger = FakeMetadataStore()
        return ledger, FakeLedgerAudit(ledger)
    client = client_of(request)
    return PostgrestMetadataStore(client), PostgrestLedgerAudit(client)


@pytest.fixture
def name():
    """A media asset id that no other test uses: the real ledger is shared."""
    return f"audit-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def now():
    """The database's moment before the test: others have left rows before it."""
    return (datetime.now(UTC) - timedelta(milliseconds=1)).isoformat()


def enrich(ledger, *names, status="complete"):
    run = uuid.uuid4().hex
    results = []
    for claim in ledger.claim(run, run, names):
        asset = claim.asset
        row = derivative(asset.asset_id, claim.fence, version=asset.content_version)
        row = replace(row, input_digest=f"digest-{asset.asset_id}")
        results.append(replace(result(claim, status), derivatives=(row,)))
    assert all(one.accepted for one in ledger.record(run, results, "0"))


def announced(one):
    return Announced(one.record, (one.asset.asset_id, one.asset.content_version))


def test_messages_are_known_by_row_redelivery_letter_or_later_version(stores, name):
    ledger, audit = stores
    older, first = arrival(name, "sha256:0"), arrival(name)
    redelivered = replace(first, record=record())
    lost, elsewhere = arrival(name, "sha256:2"), arrival(f"{name}-x")
    refused, lost_refused = record(b"no json"), record(b"no json either")
    ledger.register([first])
    ledger.reject([RejectedMessage(refused, "contract", "malformed_json", "-")], "1")
    messages = [
        *map(announced, (older, first, redelivered, lost, elsewhere)),
        Announced(refused, None), Announced(lost_refused, None),
    ]  # fmt: skip
    assert audit.accounted(messages) == ["superseded", "row", "row", None, None, "letter", None]
    assert audit.accounted([]) == []


def test_enriched_versions_page_by_page_with_their_objects(stores, name, now):
    ledger, audit = stores
    names = [f"{name}-{n}" for n in range(5)]
    ledger.register([arrival(one) for one in names])
    enrich(ledger, *names[:4])
    seen, after = [], None
    while page := audit.enriched(now, FAR, after, 2):
        seen += [one for one in page if one.asset_id in names]
        after = page[-1]
    assert [one.asset_id for one in seen] == names[:4]
    assert seen[0].objects == (f"derived/{names[0]}",)
    assert all(one.newest for one in seen)
    assert audit.enriched(LONG_AGO, "2001-02-01T00:00:00Z", None, 5) == []


def test_a_replaced_version_is_not_the_newest(stores, name, now):
    ledger, audit = stores
    ledger.register([arrival(name, "sha256:1")])
    enrich(ledger, name)
    ledger.register([arrival(name, "sha256:2")])
    enrich(ledger, name)
    found = [one for one in audit.enriched(now, FAR, None, 500) if one.asset_id == name]
    assert [(one.content_version, one.newest) for one in found] == [
        ("sha256:1", False), ("sha256:2", True),
    ]  # fmt: skip


def test_the_unfinished_that_nobody_is_at(stores, name, now):
    ledger, audit = stores
    ledger.register([arrival(f"{name}-{n}") for n in range(3)])
    enrich(ledger, f"{name}-0")
    ledger.claim("run-1", "run-1", [f"{name}-1"])

    def found(idle, after=None, limit=500):
        page = audit.stalled(now, FAR, idle, after, limit)
        return [one for one in page if one.asset_id.startswith(name)]

    assert found(3600) == []
    first, second = found(0)
    assert [(one.asset_id, one.status) for one in (first, second)] == [
        (f"{name}-1", "claimed"), (f"{name}-2", "registered"),
    ]  # fmt: skip
    assert first.idle >= 0
    assert [one.asset_id for one in found(0, first)] == [f"{name}-2"]


def test_inputs_that_derivatives_were_made_of(stores, name):
    ledger, audit = stores
    ledger.register([arrival(name)])
    enrich(ledger, name)
    known = ("text", f"digest-{name}")
    asked = [known, ("ocr", f"digest-{name}"), ("text", "digest-of-nobody")]
    assert audit.known_inputs(asked) == {known}


def test_how_media_assets_ended(stores, name):
    ledger, audit = stores
    ledger.register([arrival(f"{name}-{n}") for n in "edw"])
    enrich(ledger, f"{name}-e")
    enrich(ledger, f"{name}-d", status="dead_lettered")
    found = audit.ends_of([f"{name}-{n}" for n in "edwx"])
    assert {key: end.enriched for key, end in found.items()} == {
        f"{name}-e": True, f"{name}-d": False, f"{name}-w": False,
    }  # fmt: skip
    assert found[f"{name}-w"].finished is None
    assert found[f"{name}-e"].finished > 1.7e9


def test_events_that_wait_too_long(stores, name):
    ledger, audit = stores
    if isinstance(audit, FakeLedgerAudit):
        pytest.skip("the outbox in memory keeps no times")
    ledger.register([arrival(name)])
    enrich(ledger, name)
    waiting = {one.event_id: one for one in audit.overdue_events(0, 10_000)}
    assert waiting[f"{name}-sha256:1"].topic == "media.asset_enriched.v1"
    assert waiting[f"{name}-sha256:1"].age >= 0
    assert f"{name}-sha256:1" not in {o.event_id for o in audit.overdue_events(3600, 10_000)}
    ledger.mark_published([f"{name}-sha256:1"])
    assert f"{name}-sha256:1" not in {o.event_id for o in audit.overdue_events(0, 10_000)}
