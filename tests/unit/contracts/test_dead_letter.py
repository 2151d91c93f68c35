from dataclasses import replace

import pytest

from media_pipeline.contracts.dead_letter import (
    MAX_INLINE_BYTES,
    PAYLOAD_HEADER,
    letter_of,
    offload,
    payload_pointer,
    read_dead_letter,
    require_payload,
)
from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.ports import OutgoingEvent, RejectedMessage
from resources.dead_letter_payloads import OffloadingEventSink
from tests.fakes.event_log import FakeEventLog
from tests.fakes.metadata_store import DLQ, FakeMetadataStore
from tests.fakes.object_store import FakeObjectStore


def dead_letter_event(value: bytes | None, headers=()) -> OutgoingEvent:
    ledger = FakeMetadataStore()
    record = MessageRecord("media.ingested.v1", 1, 5, 1_700_000_000_000, b"k", value, headers)
    ledger.reject([RejectedMessage(record, "contract", "oversized_message", "too long")], "1")
    (event,) = ledger.unpublished(1)
    return event


def as_read(event: OutgoingEvent) -> MessageRecord:
    return MessageRecord(DLQ, 0, 0, 0, event.key, event.payload, event.headers)


def test_a_small_one_carries_its_bytes():
    assert offload(dead_letter_event(b"x" * 1000)) is None
    assert offload(dead_letter_event(None)) is None


def test_headers_count_as_well():
    value = b"x" * (MAX_INLINE_BYTES - 2000)
    assert offload(dead_letter_event(value)) is None
    assert offload(dead_letter_event(value, (("h", b"y" * 2000),))) is not None


def test_a_large_one_travels_with_a_pointer_and_comes_back_whole():
    value = bytes(range(256)) * 5000
    events, objects = FakeEventLog(**{DLQ: 1}), FakeObjectStore()
    sink = OffloadingEventSink(events, objects, DLQ)
    small = dead_letter_event(b"small")
    elsewhere = OutgoingEvent("e", DLQ + ".other", b"k", value)
    events.create(elsewhere.topic, 1)
    sink.publish([dead_letter_event(value), small, elsewhere])
    large, kept = events.topics[DLQ][0]
    assert (kept.value, events.topics[elsewhere.topic][0][0].value) == (b"small", value)
    assert large.value is None
    dead = read_dead_letter(large)
    pointer = payload_pointer(dead)
    assert require_payload(pointer, objects.get(pointer.object_key)) == value
    assert letter_of(dead).record_bytes == len(value)
    assert payload_pointer(read_dead_letter(kept)) is None


def test_other_bytes_under_the_pointer_are_refused():
    small, pointer = offload(dead_letter_event(b"x" * MAX_INLINE_BYTES))
    assert small.payload is None
    with pytest.raises(ValueError, match="not the original ones"):
        require_payload(pointer, b"y" * MAX_INLINE_BYTES)


def test_a_pointer_that_cannot_be_read_is_told():
    event = dead_letter_event(b"x")
    event = replace(event, headers=(*event.headers, (PAYLOAD_HEADER, b"nonsense")))
    with pytest.raises(ValueError, match=PAYLOAD_HEADER):
        payload_pointer(read_dead_letter(as_read(event)))


def test_a_letter_of_the_topic_says_what_the_headers_say():
    letter = letter_of(read_dead_letter(as_read(dead_letter_event(b"x", (("h", b"v"),)))))
    assert (letter.stage, letter.code, letter.state) == ("contract", "oversized_message", "open")
    assert (letter.coordinates, letter.record_bytes) == ("media.ingested.v1/1/5", 1)
    assert (letter.record.key, letter.record.headers) == (b"k", (("h", b"v"),))
    assert letter.first_failed_at == "2026-01-01T00:00:00.000Z"


def test_times_and_numbers_of_a_foreign_writer_break_nothing():
    event = dead_letter_event(b"x")
    odd = {"first_failed_at": b"yesterday", "attempts": "\u00b2".encode()}
    headers = tuple((name, odd.get(name, value)) for name, value in event.headers)
    letter = letter_of(read_dead_letter(as_read(replace(event, headers=headers))))
    assert (letter.first_failed_at, letter.attempts) == ("1970-01-01T00:00:00.000Z", 0)
