"""Servers and a run are killed in mid-stream; every media asset ends once all the same, and what
a Prometheus has scraped meanwhile says the same numbers.

`make soak` strikes at random, the daemon included, for as long as it is told.
"""

import pytest

from tests.e2e.pipeline import wait_until
from tests.faults.chaos import chaos_world
from tests.faults.checker import Facts, violations
from tests.faults.scrapes import counted, durations_agree, scraped, totals

STRIKES = (("pod",), ("postgresql", "postgrest"), ("object-store", "event-log"))


@pytest.mark.timeout(900)
def test_a_stream_survives_the_death_of_everything(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chaos")
    with chaos_world(folder, seed=1) as chaos, scraped(chaos.stack, folder) as scrapes:
        for number, strikes in enumerate(STRIKES):
            chaos.produce(f"chaos-{number}", 20)
            wait_until(chaos.run_is_under_way, "a run to disturb")
            for what in strikes:
                chaos.strike(what)
        chaos.await_the_end()
        facts = Facts(chaos.world, chaos.stack.postgres_dsn, "chaos-")
        told = counted(facts)
        wait_until(lambda: totals(scrapes)["status"] == told["status"], "a scrape of the end")
        assert totals(scrapes) == told
        assert durations_agree(scrapes)
    assert violations(facts, chaos.announced) == []
    ended = {row["asset_id"]: row["status"] for row in facts.versions}
    broken = {name for name in chaos.announced if name.endswith("9")}
    assert {name for name, status in ended.items() if status == "dead_lettered"} == broken
