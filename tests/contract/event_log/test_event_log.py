"""What every event log must do: in memory and on a real broker."""

import time
import uuid

import pytest

from media_pipeline.domain.ports import OutgoingEvent, Span
from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.settings import KafkaSettings, Settings
from resources.credentials import SettingsCredentials
from resources.event_log import KafkaEventSource
from resources.event_sink import KafkaEventSink
from tests.fakes.event_log import FakeEventLog

PARTITIONS = 3


@pytest.fixture
def topic():
    return f"t-{uuid.uuid4().hex[:10]}"


@pytest.fixture(params=["fake", "broker"])
def log(request, topic):
    """(source, sink) with an empty topic of three Kafka partitions."""
    if request.param == "fake":
        fake = FakeEventLog()
        fake.create(topic, PARTITIONS)
        yield fake, fake
        return
    stack = request.getfixturevalue("stack")
    settings = KafkaSettings(bootstrap_servers=stack.kafka_bootstrap, unbatched=True)
    from kafka.admin import KafkaAdminClient, NewTopic

    admin = KafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    admin.create_topics([NewTopic(name=topic, num_partitions=PARTITIONS, replication_factor=1)])
    admin.close()
    credentials = SettingsCredentials(Settings(kafka=settings))
    source, sink = KafkaEventSource(settings, credentials), KafkaEventSink(settings, credentials)
    yield source, sink
    source.close()
    sink.close()


def events(topic: str, count: int, start: int = 0) -> list[OutgoingEvent]:
    return [
        OutgoingEvent(str(n), topic, f"key-{n}".encode(), f"value-{n}".encode(), (("h", b"\x00"),))
        for n in range(start, start + count)
    ]


def poll(source, topic, positions, max_records=1000):
    return source.poll(topic, positions, max_records=max_records, deadline_seconds=10)


def test_an_empty_topic(log, topic):
    found = poll(log[0], topic, {})
    assert (found.records, found.lag) == ((), 0)
    assert dict(found.positions) == dict.fromkeys(range(PARTITIONS), 0)


def test_everything_is_read_once_byte_for_byte(log, topic):
    source, sink = log
    sink.publish(events(topic, 50))
    found = poll(source, topic, {})
    assert {(r.key, r.value) for r in found.records} == {
        (e.key, e.payload) for e in events(topic, 50)
    }
    assert {r.headers for r in found.records} == {(("h", b"\x00"),)}
    assert found.lag == 0
    assert sum(found.positions.values()) == 50
    again = poll(source, topic, found.positions)
    assert (again.records, again.lag) == ((), 0)
    assert dict(again.positions) == dict(found.positions)


def test_a_bounded_read_goes_on_where_it_stopped_and_knows_the_lag(log, topic):
    source, sink = log
    sink.publish(events(topic, 30))
    seen, positions = [], {}
    for expected_lag in (20, 10, 0):
        found = poll(source, topic, positions, max_records=10)
        assert len(found.records) == 10
        assert found.lag == expected_lag
        seen += [record.value for record in found.records]
        positions = found.positions
    assert len(set(seen)) == 30


def test_the_same_source_sees_what_came_after_its_last_poll(log, topic):
    source, sink = log
    positions, seen = {}, 0
    for start in (0, 7, 20):
        sink.publish(events(topic, 7, start))
        found = poll(source, topic, positions)
        assert len(found.records) == 7
        positions, seen = found.positions, seen + 7
    assert sum(positions.values()) == seen


def test_a_slow_answer_is_not_taken_for_the_end_of_the_topic(log, topic):
    source, sink = log
    first = poll(source, topic, {})
    sink.publish(events(topic, 7))
    consumer = getattr(source, "_consumer", None)
    if consumer is None:
        pytest.skip("the log in memory answers at once")
    quick, answers = consumer.poll, [{}]
    consumer.poll = lambda **options: answers.pop() if answers else quick(**options)
    assert len(poll(source, topic, first.positions).records) == 7


def test_an_answer_to_an_earlier_question_is_not_taken_for_this_polls(log, topic):
    source, sink = log
    positions = poll(source, topic, {}).positions
    consumer = getattr(source, "_consumer", None)
    if consumer is None:
        pytest.skip("the log in memory has no requests on their way")
    consumer.poll(timeout_ms=0)  # leaves a fetch waiting at the broker
    sink.publish(events(topic, 1))  # which this one answers
    sink.publish(events(topic, 6, 1))
    found = poll(source, topic, positions)
    assert (len(found.records), found.lag) == (7, 0)


def test_tombstones_and_missing_keys_stay_what_they_are(log, topic):
    source, sink = log
    sink.publish([OutgoingEvent("1", topic, None, b"x"), OutgoingEvent("2", topic, b"k", None)])
    found = {(record.key, record.value) for record in poll(source, topic, {}).records}
    assert found == {(None, b"x"), (b"k", None)}


def test_order_within_a_key(log, topic):
    source, sink = log
    sink.publish([OutgoingEvent(str(n), topic, b"same", str(n).encode()) for n in range(20)])
    assert [int(record.value) for record in poll(source, topic, {}).records] == list(range(20))


def test_a_missing_topic_is_systemic(log):
    with pytest.raises(SystemicError):
        poll(log[0], "no-such-topic", {})


def test_commits_do_not_move_reads(log, topic):
    source, sink = log
    sink.publish(events(topic, 5))
    source.commit(topic, poll(source, topic, {}).positions)
    assert len(poll(source, topic, {}).records) == 5


def test_a_broker_that_is_away_is_transient():
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1", request_timeout_seconds=1)
    credentials = SettingsCredentials(Settings(kafka=settings))
    with pytest.raises(TransientError):
        poll(KafkaEventSource(settings, credentials), "t", {})
    with pytest.raises(TransientError):
        KafkaEventSink(settings, credentials).publish(events("t", 1))


def test_a_position_that_retention_has_overtaken_names_the_range():
    # In memory only: no broker at hand expires records on request.
    fake = FakeEventLog()
    fake.create("t", 1)
    fake.publish(events("t", 5))
    fake.expire("t", 0, 3)
    with pytest.raises(SystemicError) as caught:
        poll(fake, "t", {0: 1})
    assert caught.value.code == "offset_out_of_range"


def read(source, topic, spans, max_records=1000):
    return source.read(topic, spans, max_records=max_records, deadline_seconds=10)


def same_partition(topic, count, start=0):
    return [OutgoingEvent(str(n), topic, b"one", str(n).encode()) for n in range(start, count)]


def test_spans_tell_what_is_there(log, topic):
    source, sink = log
    assert source.spans(topic) == dict.fromkeys(range(PARTITIONS), Span(0, 0))
    sink.publish(events(topic, 40))
    spans = source.spans(topic)
    assert sum(span.size for span in spans.values()) == 40
    assert {n: span.end for n, span in spans.items()} == dict(poll(source, topic, {}).positions)


def test_a_span_is_read_in_portions_and_never_beyond(log, topic):
    source, sink = log
    sink.publish(same_partition(topic, 12))
    (number,) = [n for n, span in source.spans(topic).items() if span.size]
    seen, position = [], 3
    while position < 9:
        found = read(source, topic, {number: Span(position, 9)}, max_records=4)
        assert set(found.positions) == {number}
        seen += [int(record.value) for record in found.records]
        position = found.positions[number]
    assert (seen, position) == ([3, 4, 5, 6, 7, 8], 9)
    nothing = read(source, topic, {number: Span(9, 9)})
    assert (nothing.records, dict(nothing.positions)) == ((), {number: 9})


def test_several_spans_are_read_to_their_ends(log, topic):
    source, sink = log
    sink.publish(events(topic, 60))
    spans = {n: Span(2, span.end - 2) for n, span in source.spans(topic).items()}
    found = read(source, topic, spans)
    assert dict(found.positions) == {n: span.end for n, span in spans.items()}
    assert len(found.records) == sum(span.size for span in spans.values()) == 60 - 4 * PARTITIONS
    assert all(2 <= one.offset < spans[one.partition].end for one in found.records)
    # The next poll is not held by what the read left paused.
    assert len(poll(source, topic, {}).records) == 60


def test_a_kafka_partition_that_does_not_exist_is_named(log, topic):
    with pytest.raises(SystemicError, match="99"):
        read(log[0], topic, {99: Span(0, 5)})


def test_nothing_of_a_moment_or_later_lies_before_its_offset(log, topic):
    source, sink = log
    sink.publish(same_partition(topic, 5))
    before = poll(source, topic, {}).records
    last = max(record.timestamp_ms for record in before)
    while time.time_ns() // 1_000_000 <= last:  # Until the clock of the timestamps has moved.
        time.sleep(0.001)
    sink.publish(same_partition(topic, 10, start=5))
    records = poll(source, topic, {}).records
    later = [record for record in records if record.timestamp_ms > last]
    assert [int(record.value) for record in later] == [5, 6, 7, 8, 9]
    offsets = source.offsets_at(topic, later[0].timestamp_ms)
    spans = source.spans(topic)
    assert set(offsets) == set(spans)
    assert all(spans[n].first <= offset <= spans[n].end for n, offset in offsets.items())
    assert offsets[later[0].partition] <= later[0].offset
    assert source.offsets_at(topic, 0) == {n: span.first for n, span in spans.items()}


def test_committed_offsets_are_told(log, topic):
    source, sink = log
    assert dict(source.committed(topic)) == {}
    sink.publish(events(topic, 9))
    positions = dict(poll(source, topic, {}).positions)
    source.commit(topic, positions)
    assert dict(source.committed(topic)) == positions
