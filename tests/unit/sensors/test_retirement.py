"""Retired keys leave Dagster, come back when needed, and never leave while needed."""

import dagster as dg
import pytest

from media_pipeline.batch_tags import range_run_tags, set_run_config, set_run_tags
from media_pipeline.settings import RetirementSettings
from resources.batch import BatchResource
from sensors.retirement import evaluate
from tests.fakes import ledger_story
from tests.fakes.operations_ledger import FakeOperationsLedger
from tests.unit.sensors.test_media_events import World

WINDOW = RetirementSettings(keep_keys=3, keep_days=30, idle_seconds=0, max_keys_per_tick=100)


class Window:
    """Ten media assets through the media sensor, and the retirement sensor over them."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.world = World(instance)
        self.instance = instance
        for number in range(10):
            self.world.send(f"k{number}")
        self.world.tick()
        self.known = self.world.keys()
        self.operations = FakeOperationsLedger(self.world.ledger)
        self.cursor: str | None = None

    def finish(self, *keys: str) -> None:
        for key in keys:
            ledger_story.run(self.world.ledger, key)

    def tick(self, settings: RetirementSettings = WINDOW, **more) -> str:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = evaluate(context, self.operations, settings, **more)
        self.cursor = result.cursor
        return result.skip_reason.skip_message


@pytest.fixture
def window():
    with dg.DagsterInstance.ephemeral() as instance:
        yield Window(instance)


def test_done_keys_beyond_the_count_go_oldest_first(window):
    window.finish(*window.known)
    assert "removed 7" in window.tick()
    assert window.world.keys() == window.known[7:]


def test_unfinished_keys_stay(window):
    window.finish(*window.known[1:])
    window.tick()
    assert window.world.keys() == [window.known[0], *window.known[7:]]


def test_keys_within_the_count_go_by_age(window):
    window.finish(*window.known)
    roomy = RetirementSettings(keep_keys=100, keep_days=30, idle_seconds=0)
    assert "removed 0" in window.tick(roomy)
    for row in window.world.ledger.rows.values():
        row.touched_at -= 31 * 86_400
    assert "removed 10" in window.tick(roomy)


def test_a_tick_is_bounded_and_the_next_goes_on(window):
    window.finish(*window.known)
    small = WINDOW.model_copy(update={"max_keys_per_tick": 2})
    for left in (8, 6, 4, 3, 3):
        window.tick(small)
        assert len(window.world.keys()) == left


def test_keys_that_cannot_go_do_not_hold_up_those_behind_them(window):
    window.finish(*window.known[4:])
    small = WINDOW.model_copy(update={"max_keys_per_tick": 2})
    for _ in range(4):
        window.tick(small)
    assert window.world.keys() == [*window.known[:4], *window.known[7:]]


def test_a_deadline_ends_the_tick_and_loses_nothing(window):
    window.finish(*window.known)
    times = iter([0.0, 1.0, 2.0, 99.0])
    assert "removed 2" in window.tick(clock=lambda: next(times))
    window.cursor = ""
    window.tick()
    assert window.world.keys() == window.known[7:]


def unfinished_run(window, tags, config=None):
    return window.instance.create_run_for_job(
        _noop, tags=tags, run_config=config or {}, status=dg.DagsterRunStatus.STARTED
    )


def test_what_an_unfinished_range_run_spans_stays(window):
    window.finish(*window.known)
    unfinished_run(window, range_run_tags(window.known[1:4]))
    window.tick()
    assert window.world.keys() == [*window.known[1:4], *window.known[7:]]


def test_what_an_unfinished_set_run_names_stays(window):
    window.finish(*window.known)
    keys = [window.known[2], window.known[5]]
    unfinished_run(window, set_run_tags(keys), set_run_config(keys))
    window.tick()
    assert window.world.keys() == [*keys, *window.known[7:]]


def test_too_many_runs_to_look_at_remove_nothing(window):
    window.finish(*window.known)
    unfinished_run(window, {})
    said = window.tick(WINDOW.model_copy(update={"max_unfinished_runs": 0}))
    assert "More than 0 runs" in said
    assert window.world.keys() == window.known


def test_a_backfill_under_way_removes_nothing(window, monkeypatch):
    window.finish(*window.known)
    monkeypatch.setattr(type(window.instance), "get_backfills", lambda *_, **__: [object()])
    assert "backfill" in window.tick()
    assert window.world.keys() == window.known


def test_a_key_that_is_needed_while_it_goes_is_given_back(window, monkeypatch):
    """Between the question and the removal the same media asset is ingested again."""
    window.finish(*window.known)
    remove = type(window.instance).delete_dynamic_partition

    def slow(self, name, key):
        if key == window.known[3]:
            ledger_story.arrive(window.world.ledger, key, version="sha256:new")
        remove(self, name, key)

    monkeypatch.setattr(type(window.instance), "delete_dynamic_partition", slow)
    assert "removed 6" in window.tick()
    assert set(window.world.keys()) == {window.known[3], *window.known[7:]}


def test_a_retired_media_asset_that_is_ingested_again_is_a_partition_again(window):
    window.finish(*window.known)
    window.tick()
    back = window.known[0]
    window.world.send(back, version="2")
    (request,) = window.world.tick().run_requests
    assert window.world.keys() == [*window.known[7:], back]
    assert request.run_config == set_run_config([back])


def test_history_survives_retirement(window):
    """Materializations stay: a key that comes back is shown as it was."""
    key = window.known[0]
    window.instance.report_runless_asset_event(dg.AssetMaterialization("enrichment", partition=key))
    window.finish(*window.known)
    window.tick()
    assert window.world.keys() == window.known[7:]
    assert window.instance.get_materialized_partitions(dg.AssetKey("enrichment")) == {key}
    window.instance.add_dynamic_partitions("media_asset", [key])
    assert window.instance.get_materialized_partitions(dg.AssetKey("enrichment")) == {key}


def test_the_media_sensor_needs_no_key_that_is_gone(window):
    window.finish(*window.known)
    window.tick()
    window.world.cursor = None
    result = window.world.tick()
    assert "10 duplicates" in result.skip_reason.skip_message


@dg.job(resource_defs={"batch": BatchResource.configure_at_launch()})
def _noop(): ...
