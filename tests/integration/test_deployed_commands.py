"""What the chart's containers run: `migrate` and `relay`, as processes, on the real servers."""

import os
import signal
import subprocess
import sys
import uuid

import psycopg
import pytest
from kafka.admin import KafkaAdminClient, NewTopic

from media_pipeline.cli.world import World
from media_pipeline.definitions import build_defs
from media_pipeline.local_stack.migrations import migrations_dir
from media_pipeline.settings import BatchSettings, Settings
from tests.e2e.pipeline import read_topic, wait_until

COMMAND = [sys.executable, "-m", "media_pipeline.cli.main"]


def run(*words: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*COMMAND, *words], env={**os.environ, **variables},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_migrate_makes_an_empty_database_a_ledger_once(stack):
    name = f"fresh_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(stack.postgres_dsn, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    url = stack.postgres_dsn.rpartition("/")[0] + f"/{name}"
    first, second = (run("migrate", MEDIA_PIPELINE_LEDGER__DATABASE_URL=url) for _ in range(2))
    assert first.returncode == 0, first.stderr
    names = [file.name for file in sorted(migrations_dir().glob("*.sql"))]
    assert [line.removeprefix("applied ") for line in first.stdout.splitlines()[:-1]] == names
    assert second.stdout.strip() == "nothing to do"
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from media.media_asset").fetchone() == (0,)


@pytest.mark.parametrize("url", [None, "postgresql://owner:hidden-word@127.0.0.1:1/ledger"])
def test_migrate_says_what_is_missing_and_shows_no_password(url):
    given = {"MEDIA_PIPELINE_LEDGER__DATABASE_URL": url} if url else {}
    done = run("migrate", **given)
    assert done.returncode == 2
    assert "Remedy:" in done.stderr
    assert "MEDIA_PIPELINE_LEDGER__DATABASE_URL" in " ".join(done.stderr.split())
    assert "hidden-word" not in done.stdout + done.stderr


def test_relay_publishes_until_it_is_told_to_stop(stack, tmp_path):
    world, heartbeat = World(stack.settings()), tmp_path / "alive"
    topic = f"relay-{uuid.uuid4().hex[:8]}"  # of its own: others count what is in theirs
    admin = KafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    admin.create_topics([NewTopic(name=topic, num_partitions=1, replication_factor=1)])
    admin.close()
    process = subprocess.Popen(
        [*COMMAND, "relay", "--heartbeat-file", str(heartbeat)],
        env={**os.environ, **stack.environment()},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        wait_until(heartbeat.exists, "the first look at the outbox")
        with psycopg.connect(stack.postgres_dsn) as connection:
            connection.execute(
                "insert into media.outbox (event_id, topic, key, payload, headers)"
                " values (%s, %s, %s, %s, '[]')",
                (str(uuid.uuid4()), topic, b"k", b"{}"),
            )
        wait_until(lambda: read_topic(world, topic), "the event")
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "relay_stopped" in output
    assert world.metadata_store.counts().unpublished == 0


def test_one_of_sensor_and_process_relays():
    def sensors(**batch) -> set[str]:
        return {one.name for one in build_defs(Settings(batch=BatchSettings(**batch))).sensors}

    assert sensors() - sensors(outbox_relay="process") == {"outbox_relay_sensor"}
