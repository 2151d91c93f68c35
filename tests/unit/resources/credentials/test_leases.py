"""A leased value: renewed early, kept through outages to its end, fetched once for all threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from media_pipeline.errors import SystemicError, TransientError
from resources.credentials.leases import ASK_AGAIN, Lease, Leased, renewal_delay


class Source:
    """Gives v1, v2, ... for `seconds` each, unless told to fail."""

    def __init__(self, seconds=90.0, fresh_seconds=None):
        self.now = 1000.0
        self.fetched = 0
        self.failure = None
        self.seconds = seconds
        self.fresh_seconds = fresh_seconds
        self.leased = Leased(self.fetch, lambda: self.now)

    def fetch(self):
        self.fetched += 1
        if self.failure:
            raise self.failure
        return Lease(f"v{self.fetched}", self.seconds, self.fresh_seconds)


AWAY = TransientError("away", remedy="wait", code="vault_unavailable")
DENIED = SystemicError("denied", remedy="allow it", code="credentials_refused")


def test_renewal_is_at_two_thirds_with_jitter():
    delays = {renewal_delay(90) for _ in range(50)}
    assert min(delays) >= 54
    assert max(delays) <= 60.03
    assert len(delays) > 10


def test_a_value_is_fetched_once_and_renewed_before_it_ends():
    source = Source()
    assert [source.leased.get() for _ in range(3)] == ["v1"] * 3
    source.now += 53
    assert source.leased.get() == "v1"
    source.now += 8
    assert source.leased.get() == "v2"
    assert source.leased.seconds_left() == 90


def test_freshness_may_be_shorter_than_life():
    source = Source(seconds=3600, fresh_seconds=60)
    assert source.leased.get() == "v1"
    source.now += 61
    assert source.leased.get() == "v2"


@pytest.mark.parametrize("failure", [AWAY, DENIED])
def test_a_value_that_cannot_be_renewed_is_used_to_its_end_and_no_longer(failure):
    source = Source()
    source.leased.get()
    source.failure = failure
    source.now += 89
    assert source.leased.get() == "v1"
    assert source.leased.get() == "v1"
    assert source.fetched == 2, "asked at every use while the other side is away"
    source.now += 1
    with pytest.raises(type(failure)):
        source.leased.get()
    source.failure = None
    assert source.leased.get() == "v4"


def test_after_an_outage_it_is_asked_again_soon():
    source = Source()
    source.leased.get()
    source.failure = AWAY
    source.now += 61
    source.leased.get()
    source.failure = None
    source.now += ASK_AGAIN
    assert source.leased.get() == "v3"


def test_a_refused_value_is_replaced_and_a_refusal_of_the_former_one_changes_nothing():
    source = Source()
    assert source.leased.get() == "v1"
    source.leased.refused(lambda held: held == "v1")
    assert source.leased.get() == "v2"
    source.leased.refused(lambda held: held == "v1")
    assert source.leased.get() == "v2"


def test_many_threads_that_are_refused_fetch_once():
    source = Source()
    source.leased.get()
    together = threading.Barrier(8)

    def refused(_):
        together.wait()
        source.leased.refused(lambda held: held == "v1")
        return source.leased.get()

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(refused, range(8))) == {"v2"}
    assert source.fetched == 2


def test_while_one_renews_the_others_go_on_with_the_living_value():
    source = Source()
    source.leased.get()
    asked, answer = threading.Event(), threading.Event()

    def slow():
        asked.set()
        answer.wait(10)
        return Lease("new", 90.0)

    source.leased._fetch = slow
    source.now += 61
    with ThreadPoolExecutor(1) as threads:
        renewing = threads.submit(source.leased.get)
        assert asked.wait(10)
        assert source.leased.get() == "v1"
        answer.set()
        assert renewing.result(10) == "new"


def test_a_lease_does_not_show_its_value():
    assert "hidden" not in repr(Lease("hidden", 1.0))
