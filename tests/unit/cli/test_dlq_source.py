from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pytest

from media_pipeline.cli.dlq_file import Form, write_export
from media_pipeline.cli.dlq_source import (
    FileSource,
    LedgerSource,
    ReconciledSource,
    TopicSource,
    read_to_end,
)
from media_pipeline.dead_letters.grouping import error_fingerprint
from media_pipeline.domain.dead_letters import LetterAction, LetterFilter
from media_pipeline.domain.ports import OutgoingEvent, Poll, RejectedMessage
from media_pipeline.errors import PermanentError, TransientError
from resources.dead_letter_payloads import OffloadingEventSink
from tests.fakes.dead_letter_store import FakeDeadLetterStore
from tests.fakes.event_log import FakeEventLog
from tests.fakes.ledger_story import arrive, bury, record_of, run
from tests.fakes.metadata_store import DLQ, FakeMetadataStore
from tests.fakes.object_store import FakeObjectStore

ALL = LetterFilter()


class Worlds:
    """A ledger with letters, and the topic that its outbox was published to."""

    def __init__(self) -> None:
        self.ledger = FakeMetadataStore()
        self.store = FakeDeadLetterStore(self.ledger)
        self.events = FakeEventLog(**{DLQ: 3, "media.ingested.v1": 3})
        self.objects = FakeObjectStore()

    def publish(self) -> None:
        events = self.ledger.unpublished(10**6)
        OffloadingEventSink(self.events, self.objects, DLQ).publish(events)
        self.ledger.mark_published([event.event_id for event in events])

    def from_ledger(self) -> LedgerSource:
        return LedgerSource(self.store, "test")

    def from_topic(self) -> TopicSource:
        return TopicSource(self.events, self.objects, DLQ, "test")


@pytest.fixture
def worlds():
    return Worlds()


def ids(letters):
    return {letter.dlq_id for letter in letters}


def test_ledger_and_topic_have_the_same_letters_with_the_same_records(worlds):
    for number in range(7):
        bury(
            worlds.ledger, f"a-{number}", record=record_of(f"a-{number}", value=b"\xff%d" % number)
        )
    large = record_of("large", value=b"x" * 1_000_000)
    worlds.ledger.reject([RejectedMessage(large, "contract", "oversized_message", "long")], "1")
    worlds.publish()
    from_ledger = {one.dlq_id: one for one in worlds.from_ledger().letters(ALL, records=True)}
    from_topic = {one.dlq_id: one for one in worlds.from_topic().letters(ALL, records=True)}
    assert len(from_ledger) == 8
    assert from_ledger.keys() == from_topic.keys()
    for dlq_id, letter in from_ledger.items():
        assert letter.record == from_topic[dlq_id].record
        assert (letter.code, letter.asset_id) == (
            from_topic[dlq_id].code, from_topic[dlq_id].asset_id,
        )  # fmt: skip
    assert all(one.record is None for one in worlds.from_topic().letters(ALL, records=False))


def test_filters_mean_the_same_everywhere(worlds):
    bury(worlds.ledger, "a")
    empty = bury(worlds.ledger, "b", "empty")
    worlds.publish()
    (letter,) = worlds.from_ledger().letters(LetterFilter(codes=("empty",)), records=False)
    print_ = error_fingerprint(letter)
    for source in (worlds.from_ledger(), worlds.from_topic()):
        for wanted in (
            LetterFilter(ids=frozenset({empty})), LetterFilter(codes=("empty",)),
            LetterFilter(assets=("b",)), LetterFilter(fingerprints=(print_,)),
        ):  # fmt: skip
            assert ids(source.letters(wanted, records=True)) == {empty}
        assert not ids(source.letters(LetterFilter(stages=("ocr",)), records=False))
    later = LetterFilter(since=datetime(2100, 1, 1, tzinfo=UTC))
    assert not ids(worlds.from_ledger().letters(later, records=False))


def test_the_topic_tells_a_letter_once_and_the_newest_record_counts(worlds):
    dlq_id = bury(worlds.ledger, "a")
    worlds.publish()
    (record,) = worlds.store.records([dlq_id]).values()
    again = replace(
        record, offset=99,
        headers=(*record.headers, ("replay.id", b"r"), ("replay.count", b"1")),
    )  # fmt: skip
    arrive(worlds.ledger, "a", record=again)
    run(worlds.ledger, "a", "invalid")
    worlds.publish()
    assert sum(len(log) for log in worlds.events.topics[DLQ]) == 2
    (letter,) = worlds.from_topic().letters(ALL, records=True)
    assert letter.replay_count == 1


def test_records_that_are_no_dead_letters_are_told(worlds):
    bury(worlds.ledger, "a")
    worlds.publish()
    ((record,),) = [log for log in worlds.events.topics[DLQ] if log]
    pointless = (*record.headers, ("dlq.payload", b"nonsense"))
    worlds.events.publish(
        [
            OutgoingEvent("x", DLQ, b"k", b"stranger"),
            OutgoingEvent("y", DLQ, b"k", None, pointless),
        ]
    )
    source = worlds.from_topic()
    assert len(ids(source.letters(ALL, records=False))) == 1
    assert len(source.foreign) == 2
    assert "is no dead letter" in source.foreign[0]
    assert "dlq.payload cannot be read" in source.foreign[1]


def test_the_topic_beside_the_ledger_has_the_ledgers_states(worlds):
    done, still_open = bury(worlds.ledger, "a"), bury(worlds.ledger, "b")
    worlds.publish()
    run(worlds.ledger, "a")
    source = TopicSource(worlds.events, worlds.objects, DLQ, "test", worlds.store)
    states = {one.dlq_id: one.state for one in source.letters(ALL, records=True)}
    assert states == {done: "replayed", still_open: "open"}
    assert ids(source.letters(LetterFilter(states=("open",)), records=False)) == {still_open}
    stranger = TopicSource(worlds.events, worlds.objects, DLQ, "test", Worlds().store)
    assert len(ids(stranger.letters(ALL, records=False))) == 2, "unknown to the ledger, still there"


def test_a_payload_that_was_changed_in_the_store_is_refused(worlds):
    large = record_of("large", value=b"x" * 1_000_000)
    worlds.ledger.reject([RejectedMessage(large, "contract", "oversized_message", "long")], "1")
    worlds.publish()
    (key,) = worlds.objects.objects
    worlds.objects.objects[key] = b"y" * 1_000_000
    assert len(ids(worlds.from_topic().letters(ALL, records=False))) == 1
    with pytest.raises(PermanentError, match="payload_changed"):
        list(worlds.from_topic().letters(ALL, records=True))


class EndlessTopic:
    """Says that there is more and never gives it."""

    def poll(self, topic, positions, *, max_records, deadline_seconds):
        return Poll((), {0: 0}, {0: 5})


def test_a_topic_that_cannot_be_read_to_its_end_is_no_empty_topic():
    with pytest.raises(TransientError, match="5 records are missing"):
        list(read_to_end(EndlessTopic(), DLQ))


def test_an_export_is_written_whole_and_read_back(worlds, tmp_path):
    wanted = {bury(worlds.ledger, f"a-{number}") for number in range(120)}
    file = tmp_path / "out.jsonl"
    assert write_export(file, worlds.from_ledger(), ALL) == 120
    letters = list(FileSource(file).letters(ALL, records=True))
    assert ids(letters) == wanted
    assert letters == list(worlds.from_ledger().letters(ALL, records=True))
    assert write_export(tmp_path / "out.csv", worlds.from_ledger(), ALL, Form.CSV) == 120
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 121
    assert write_export(tmp_path / "out.parquet", worlds.from_ledger(), ALL, Form.PARQUET) == 120
    table = pd.read_parquet(tmp_path / "out.parquet").set_index("dlq_id")
    assert {one.dlq_id: one.record.value for one in letters} == dict(table["value"])
    assert {one.name for one in tmp_path.iterdir()} == {"out.jsonl", "out.csv", "out.parquet"}


def test_an_export_that_fails_leaves_the_old_file(worlds, tmp_path):
    bury(worlds.ledger, "a")
    file = tmp_path / "out.jsonl"
    file.write_text("old")

    class Broken(LedgerSource):
        def letters(self, wanted, *, records):
            yield from super().letters(wanted, records=records)
            raise TransientError("the ledger went away", remedy="wait")

    with pytest.raises(TransientError):
        write_export(file, Broken(worlds.store, "test"), ALL)
    assert [one.name for one in tmp_path.iterdir()] == ["out.jsonl"]
    assert file.read_text() == "old"


def test_a_broken_file_hands_out_nothing(worlds, tmp_path):
    for number in range(3):
        bury(worlds.ledger, f"a-{number}")
    file = tmp_path / "out.jsonl"
    write_export(file, worlds.from_ledger(), ALL)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PermanentError, match=r"export_refused.*line 3"):
        FileSource(file)


def test_a_file_beside_the_ledger_has_todays_states(worlds, tmp_path):
    done, still_open = bury(worlds.ledger, "a"), bury(worlds.ledger, "b")
    file = tmp_path / "out.jsonl"
    write_export(file, worlds.from_ledger(), ALL)
    run(worlds.ledger, "a")
    source = ReconciledSource(FileSource(file), worlds.store)
    states = {one.dlq_id: one.state for one in source.letters(ALL, records=False)}
    assert states == {done: "replayed", still_open: "open"}
    only_open = LetterFilter(states=("open",))
    assert ids(source.letters(only_open, records=True)) == {still_open}


def test_a_file_of_another_ledger_is_refused(worlds, tmp_path):
    bury(worlds.ledger, "a")
    file = tmp_path / "out.jsonl"
    write_export(file, worlds.from_ledger(), ALL)
    stranger = Worlds()
    with pytest.raises(PermanentError, match=r"unknown_letters.*not in the ledger"):
        list(ReconciledSource(FileSource(file), stranger.store).letters(ALL, records=False))
    bury(stranger.ledger, "a", record=record_of("a", value=b"other bytes"))
    with pytest.raises(PermanentError, match="not the one in the ledger"):
        list(ReconciledSource(FileSource(file), stranger.store).letters(ALL, records=False))


def test_a_hundred_thousand_letters_are_read_in_pages(worlds):
    asked = []

    class Huge(FakeDeadLetterStore):
        def letters(self, wanted, after, limit):
            asked.append(limit)
            start = 0 if after is None else int(after) + 1
            end = min(start + limit, 100_000)
            return [replace(one, dlq_id=str(number)) for number in range(start, end)]

        def records(self, dlq_ids):
            asked.append(len(dlq_ids))
            return dict.fromkeys(dlq_ids, one.record)

    bury(worlds.ledger, "a")
    (one,) = worlds.from_ledger().letters(ALL, records=True)
    source = LedgerSource(Huge(worlds.ledger), "test")
    assert sum(1 for _ in source.letters(ALL, records=True)) == 100_000
    assert max(asked) <= 1000


def test_described_filters_are_what_the_audit_keeps(worlds):
    wanted = LetterFilter(
        ids=frozenset({"1", "2"}), codes=("empty",), since=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert wanted.described() == {
        "ids": 2,
        "codes": ["empty"],
        "since": "2026-01-01T00:00:00+00:00",
    }
    dlq_id = bury(worlds.ledger, "a")
    (letter,) = worlds.from_ledger().letters(LetterFilter(ids=frozenset({dlq_id})), records=False)
    action = LetterAction("1", "discard", "anna", "host", wanted.described(), "why")
    assert worlds.store.act(action, [letter]) == [dlq_id]
    assert worlds.store.history(dlq_id)[-1].wanted == wanted.described()
