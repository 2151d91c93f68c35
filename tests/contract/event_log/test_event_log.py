"""What every event log must do: in memory and on a real broker."""

import uuid

import pytest

from media_pipeline.domain.ports import OutgoingEvent
from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.settings import KafkaSettings, Settings
from resources.credentials import SettingsCredentials
from resources.event_log import KafkaEventSink, KafkaEventSource
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
