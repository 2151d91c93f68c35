"""What every store of replays must do, whatever is behind it."""

import dataclasses
import uuid

import pytest

from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.outcome import Code
from media_pipeline.domain.replays import CandidateFilter, KnownState, Portion
from media_pipeline.errors import MediaPipelineError
from resources.metadata_store import PostgrestMetadataStore
from resources.replay_store import PostgrestReplayStore
from tests.contract.metadata_store.conftest import LEDGERS, client_of
from tests.contract.metadata_store.test_metadata_store import arrival, derivative, record, result
from tests.fakes.metadata_store import FakeMetadataStore
from tests.fakes.replay_store import FakeReplayStore

IDLE = 3600


@pytest.fixture(params=LEDGERS)
def stores(request):
    """(ledger, its replays)."""
    if request.param == "fake":
        ledger = FakeMetadataStore()
        return ledger, FakeReplayStore(ledger)
    client = client_of(request)
    return PostgrestMetadataStore(client), PostgrestReplayStore(client)


@pytest.fixture
def name():
    """A media asset id that no other test uses: the real ledger is shared."""
    return f"r-{uuid.uuid4().hex[:12]}"


def enrich(ledger, *names, code=Code.OK, status="complete"):
    run = uuid.uuid4().hex
    results = []
    for claim in ledger.claim(run, run, names):
        version = claim.asset.content_version
        row = derivative(claim.asset.asset_id, claim.fence, code, version)
        results.append(dataclasses.replace(result(claim, status), derivatives=(row,)))
    assert all(one.accepted for one in ledger.record(run, results, "0"))


def states(replays, *arrivals, replay_id=None, idle=IDLE):
    return replays.states(arrivals, replay_id, idle)


def begun(replays, place=None):
    replay_id = uuid.uuid4().hex
    replays.begin(replay_id, "topic", {"spans": {"0": [0, 9]}}, "anna", "host-1", place or {})
    return replay_id


def portion(number=0, arrivals=(), versions=(), place=None, counts=None, complete=True):
    return Portion(number, place or {}, counts or {}, arrivals, versions, complete)


def version_of(one):
    return one.asset.asset_id, one.asset.content_version


# --- what is known ----------------------------------------------------------------------------


def test_states_of_versions_in_order(stores, name):
    ledger, replays = stores
    missing, done, waiting = (arrival(f"{name}-{n}") for n in "mdw")
    ledger.register([done, waiting])
    enrich(ledger, f"{name}-d")
    assert states(replays, missing, done, waiting, idle=0) == [
        KnownState("missing"), KnownState("complete"), KnownState("registered"),
    ]  # fmt: skip
    assert states(replays) == []


def test_the_unfinished_is_somebodys_until_it_is_idle(stores, name):
    ledger, replays = stores
    one = arrival(name)
    ledger.register([one])
    assert states(replays, one) == [KnownState("registered", "the sensor")]
    ledger.claim("run-7", "run-7", [name])
    assert states(replays, one) == [KnownState("claimed", "run run-7")]
    assert states(replays, one, idle=0) == [KnownState("claimed")]


def test_what_is_held_for_a_pause_is_left_to_it(stores, name):
    ledger, replays = stores
    if isinstance(replays, FakeReplayStore):
        pytest.skip("the ledger in memory holds nothing here")
    one = arrival(name)
    ledger.register([one])
    held = [{"asset_id": name, "content_version": one.asset.content_version}]
    replays._client.call("hold", {"arrivals": held, "scope": "workload:ocr"})
    assert states(replays, one, idle=0) == [
        KnownState("registered", "the pause of workload:ocr")
    ]  # fmt: skip


def test_an_older_message_must_not_become_the_current_content(stores, name):
    ledger, replays = stores
    older, newer = arrival(name, "sha256:old"), arrival(name, "sha256:new")
    ledger.register([newer])
    assert states(replays, older, idle=0) == [KnownState("superseded")]
    later = arrival(name, "sha256:later")
    assert states(replays, later, idle=0) == [KnownState("missing")]
    elsewhere = MessageRecord("media.ingested.v1", 0, 1, 1_600_000_000_000, b"k", b"{}")
    assert states(replays, arrival(name, "sha256:e", elsewhere), idle=0)[0].state == "superseded"
    enrich(ledger, name)
    ledger.register([later])
    assert states(replays, newer, idle=0) == [KnownState("superseded")]


# --- candidates -------------------------------------------------------------------------------


def found(replays, names, after=None, scan=100, idle=0, **wanted):
    return replays.candidates(
        CandidateFilter(assets=tuple(names), **wanted), after, scan, None, idle
    )


def test_candidates_by_each_filter(stores, name):
    ledger, replays = stores
    names = [f"{name}-{n}" for n in range(4)]
    ledger.register([arrival(one) for one in names])
    enrich(ledger, names[0])
    enrich(ledger, names[1], code=Code.TIMEOUT, status="dead_lettered")
    ledger.claim("run-1", "run-1", [names[2]])

    def ids(**wanted):
        return [row.asset_id for row in found(replays, names, **wanted).rows]

    assert ids() == names
    assert ids(kinds_missing=("text",)) == names[2:]
    assert ids(kinds_missing=("ocr", "text")) == names
    assert ids(outcomes=("timeout",)) == [names[1]]
    assert ids(statuses=("complete", "claimed")) == [names[0], names[2]]
    assert ids(statuses=("complete",), outcomes=("timeout",)) == []
    assert ids(stale={"text": "text-1"}) == names[2:]
    assert ids(stale={"text": "text-2"}) == names
    rows = found(replays, names, idle=IDLE).rows
    assert [row.busy for row in rows] == [None, None, "run run-1", "the sensor"]
    assert [row.status for row in rows] == ["complete", "dead_lettered", "claimed", "registered"]


def test_candidates_come_page_by_page_even_where_a_page_holds_none(stores, name):
    ledger, replays = stores
    names = [f"{name}-{n}" for n in range(5)]
    ledger.register([arrival(one) for one in names])
    enrich(ledger, names[4])
    seen, after, pages = [], None, 0
    while True:
        page = found(replays, names, after, 2, statuses=("complete",))
        seen += [row.asset_id for row in page.rows]
        after, pages = page.after, pages + 1
        if after is None:
            break
    assert (seen, pages) == ([names[4]], 3)


def test_a_candidate_is_the_version_that_a_run_would_claim(stores, name):
    ledger, replays = stores
    ledger.register([arrival(name, "sha256:1")])
    enrich(ledger, name)
    ledger.register([arrival(name, "sha256:2")])
    (row,) = found(replays, [name]).rows
    assert (row.content_version, row.status) == ("sha256:2", "registered")
    enrich(ledger, name)
    (row,) = found(replays, [name]).rows
    assert (row.content_version, row.status) == ("sha256:2", "complete")


def test_an_interval_is_that_of_the_last_outcome(stores, name):
    ledger, replays = stores
    if isinstance(replays, FakeReplayStore):
        pytest.skip("the ledger in memory keeps no times")
    ledger.register([arrival(name)])
    enrich(ledger, name)
    assert not found(replays, [name], since="2999-01-01T00:00:00Z").rows
    assert not found(replays, [name], until="2001-01-01T00:00:00Z").rows
    assert found(replays, [name], since="2001-01-01T00:00:00Z", until="2999-01-01T00:00:00Z").rows


# --- a replay's memory ------------------------------------------------------------------------


def test_a_portion_registers_remembers_and_moves_on_at_once(stores, name):
    ledger, replays = stores
    replay_id = begun(replays, {"0": 0})
    one, two = arrival(f"{name}-1"), arrival(f"{name}-2")
    ledger.register([two])
    enrich(ledger, f"{name}-2")
    noted = portion(
        0, [one], [version_of(one), version_of(two)], {"0": 5}, {"missing": 1}, complete=False
    )
    assert replays.note(replay_id, noted) == [f"{name}-1", f"{name}-2"]
    assert replays.note(replay_id, noted) == [f"{name}-1", f"{name}-2"]
    (row,) = replays.replays(replay_id, 5)
    assert (row.source, row.who, row.host) == ("topic", "anna", "host-1")
    assert (row.place, row.counts, row.was_read) == ({"0": 5}, {"missing": 1}, False)
    assert (row.items, row.ended, row.portions, row.backfills) == (2, 0, 1, {0: None})
    replays.launched(replay_id, 0, "backfill-1")
    replays.note(replay_id, portion(1, place={"0": 9}, counts={"missing": 1}))
    (row,) = replays.replays(replay_id, 5)
    assert (row.was_read, row.portions, row.backfills) == (True, 1, {0: "backfill-1"})
    assert states(replays, one, replay_id=replay_id, idle=0) == [KnownState("registered")]


def test_a_version_is_in_one_portion_alone(stores, name):
    _, replays = stores
    replay_id = begun(replays)
    one = arrival(name)
    assert replays.note(replay_id, portion(0, [one], [version_of(one)])) == [name]
    assert replays.note(replay_id, portion(1, [one], [version_of(one)])) == []
    assert replays.assets_of(replay_id, 0) == [name]


def test_another_replay_sees_who_is_at_it(stores, name):
    ledger, replays = stores
    first, second = begun(replays), begun(replays)
    one = arrival(name)
    ledger.register([one])
    enrich(ledger, name)
    replays.note(first, portion(0, [], [version_of(one)]))
    assert states(replays, one, replay_id=second) == [KnownState("complete", f"replay {first}")]
    assert states(replays, one, replay_id=first) == [KnownState("complete")]
    enrich(ledger, name)
    assert states(replays, one, replay_id=second) == [KnownState("complete")]


def test_a_proven_replay_is_in_nobodys_way(stores, name):
    _, replays = stores
    replay_id, one = begun(replays), arrival(name)
    replays.note(replay_id, portion(0, [one], [version_of(one)]))
    replays.end(replay_id, {"new": 0})
    assert states(replays, one, idle=0) == [KnownState("registered")]
    (row,) = replays.replays(replay_id, 1)
    assert row.proof == {"new": 0}


def test_ends_show_rows_before_and_now(stores, name):
    ledger, replays = stores
    replay_id = begun(replays)
    one, two = arrival(f"{name}-1"), arrival(f"{name}-2")
    ledger.register([two])
    enrich(ledger, f"{name}-2")
    replays.note(replay_id, portion(0, [one], [version_of(one), version_of(two)]))
    first, second = replays.ends(replay_id, None, 10)
    assert (first.ended, first.before, first.now) == (False, (), ())
    assert (second.ended, second.superseded) == (False, False)
    assert [row.kind for row in second.before] == [row.kind for row in second.now] == ["text"]
    enrich(ledger, f"{name}-1", f"{name}-2")
    (second,) = replays.ends(replay_id, version_of(one), 10)
    assert (second.asset_id, second.ended, second.status) == (f"{name}-2", True, "complete")
    assert second.before[0].artifacts == second.now[0].artifacts
    assert replays.replays(replay_id, 1)[0].ended == 2


def test_a_version_that_was_replaced_meanwhile_is_not_waited_for(stores, name):
    ledger, replays = stores
    replay_id, one = begun(replays), arrival(name, "sha256:1")
    ledger.register([one])
    enrich(ledger, name)
    replays.note(replay_id, portion(0, [], [version_of(one)]))
    ledger.register([arrival(name, "sha256:2", record())])
    (end,) = replays.ends(replay_id, None, 5)
    assert (end.ended, end.superseded) == (False, True)
    assert replays.replays(replay_id, 1)[0].ended == 1


def test_nothing_is_noted_for_a_replay_that_does_not_exist(stores, name):
    _, replays = stores
    if isinstance(replays, FakeReplayStore):
        pytest.skip("the commands begin first")
    with pytest.raises(MediaPipelineError, match="no replay"):
        replays.note("no-such", portion(0, [arrival(name)], [(name, "sha256:1")]))
