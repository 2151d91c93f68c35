"""What every sample must be: even, repeatable, paged by key, of newest versions alone."""

import uuid

import pytest

from media_pipeline.domain.outcome import Code
from media_pipeline.domain.samples import draw
from resources.metadata_store import PostgrestMetadataStore
from resources.sample_store import PostgrestSampleStore
from tests.contract.metadata_store.conftest import LEDGERS, client_of
from tests.contract.metadata_store.test_metadata_store import arrival, derivative, result
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.sample_store import FakeSampleStore


@pytest.fixture(params=LEDGERS)
def stores(request):
    """(ledger, samples of it)."""
    if request.param == "fake":
        ledger = FakeMetadataStore()
        return ledger, FakeSampleStore(ledger)
    client = client_of(request)
    return PostgrestMetadataStore(client), PostgrestSampleStore(client)


@pytest.fixture
def kind():
    """A kind that no other test uses: the real ledger is shared."""
    return f"kind-{uuid.uuid4().hex[:12]}"


def enriched(ledger, kind, count, code=Code.OK, version="sha256:1", prefix=None):
    """Media assets whose only derivative is of that kind; answers their ids."""
    import dataclasses

    prefix = prefix or f"s-{uuid.uuid4().hex[:8]}"
    names = [f"{prefix}-{number}" for number in range(count)]
    ledger.register([arrival(name, version) for name in names])
    run = f"run-{uuid.uuid4().hex}"
    results = []
    for claim in ledger.claim(run, run, names):
        row = derivative(claim.asset.asset_id, claim.fence, code, version, kind)
        results.append(dataclasses.replace(result(claim), derivatives=(row,)))
    assert all(one.accepted for one in ledger.record(run, results, "0"))
    return names


def drawn(samples, kind, seed, size, page_rows=500):
    pages = draw(samples, kind, seed, size, page_rows=page_rows)
    return [one.asset.asset_id for page in pages for one in page]


def test_pages_follow_each_other_without_gap_or_repetition(stores, kind):
    ledger, samples = stores
    names = enriched(ledger, kind, 23)
    assert samples.population(kind) == 23
    found = drawn(samples, kind, "1", 100, page_rows=5)
    assert sorted(found) == sorted(names)
    assert found == drawn(samples, kind, "1", 100)


def test_a_smaller_sample_is_the_beginning_of_a_larger_one_of_its_seed(stores, kind):
    ledger, samples = stores
    enriched(ledger, kind, 30)
    larger = drawn(samples, kind, "7", 20, page_rows=6)
    assert len(larger) == 20
    assert drawn(samples, kind, "7", 9, page_rows=4) == larger[:9]
    assert drawn(samples, kind, "8", 20) != larger


def test_it_is_spread_over_the_whole_ledger(stores, kind):
    """Not the first, not the last: every third of what was ingested is in a sample."""
    ledger, samples = stores
    names = enriched(ledger, kind, 90)
    found = set(drawn(samples, kind, "1", 30))
    for start in (0, 30, 60):
        assert found & set(names[start : start + 30])


def test_a_sampled_asset_can_be_fetched_and_tells_what_was_recorded(stores, kind):
    ledger, samples = stores
    (name,) = enriched(ledger, kind, 1)
    (one,) = samples.page(kind, "1", None, 10)
    asked = arrival(name).asset
    assert one.asset.source == asked.source
    assert (one.asset.asset_id, one.asset.content_version) == (name, "sha256:1")
    assert one.fingerprint == f"{kind}-1"
    assert one.attributes["pages"] == 3


def test_failures_other_kinds_and_older_versions_are_not_drawn(stores, kind):
    ledger, samples = stores
    kept = enriched(ledger, kind, 2)
    enriched(ledger, kind, 2, code=Code.TIMEOUT)
    enriched(ledger, f"{kind}-other", 2)
    enriched(ledger, kind, 1, prefix="again-" + kind)
    enriched(ledger, kind, 1, code=Code.INVALID, version="sha256:2", prefix="again-" + kind)
    assert sorted(drawn(samples, kind, "1", 100)) == sorted(kept)
    assert samples.population(kind) == 2


def test_nothing_to_draw_from_is_no_error(stores, kind):
    _, samples = stores
    assert samples.population(kind) == 0
    assert drawn(samples, kind, "1", 10) == []
