"""Runs once before everything else of the compose stack: makes what is missing, repeats nothing.

    python prepare.py CREDENTIALS.json

Topics in Kafka, buckets in the object store, the pipeline's credentials in the vault, and a
first moderation model where the registry file names none. Addresses come from the settings.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from media_pipeline.settings import Settings, load_settings

#: Kafka partitions of each topic; more of them can be added later, fewer cannot.
INGESTED_PARTITIONS = 4


def main(credentials_file: Path) -> None:
    """All steps, in any order; each says what it made."""
    settings = load_settings()
    credentials = json.loads(credentials_file.read_text())
    make_topics(settings)
    make_buckets(settings, credentials)
    store_credentials(settings, credentials)
    registry = settings.moderation.registry_file
    if registry and not Path(registry).exists():
        subprocess.run(["media-pipeline", "models", "import", "opennsfw"], check=True)


def make_topics(settings: Settings) -> None:
    """The three topics; those that exist keep their Kafka partitions."""
    from kafka.admin import KafkaAdminClient, NewTopic

    kafka = settings.kafka
    wanted = {
        kafka.ingested_topic: INGESTED_PARTITIONS,
        kafka.enriched_topic: INGESTED_PARTITIONS,
        kafka.dead_letter_topic: 1,
    }
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    try:
        for name in sorted(set(wanted) - set(admin.list_topics())):
            topic = NewTopic(name=name, num_partitions=wanted[name], replication_factor=1)
            admin.create_topics([topic])
            print(f"topic {name}")
    finally:
        admin.close()


def make_buckets(settings: Settings, credentials: dict[str, str]) -> None:
    """For uploads and for derived objects."""
    from minio import Minio

    store = settings.object_store
    client = Minio(
        endpoint=store.endpoint,
        access_key=credentials["object_store_access_key"],
        secret_key=credentials["object_store_secret_key"],
        secure=store.secure,
        region=store.region,
    )
    for bucket in (*store.allowed_buckets, store.derived_bucket):
        if not client.bucket_exists(bucket_name=bucket):
            client.make_bucket(bucket_name=bucket)
            print(f"bucket {bucket}")


def store_credentials(settings: Settings, credentials: dict[str, str]) -> None:
    """One secret of kv version 2; written anew each time, the vault may have lost it."""
    import hvac

    vault = settings.vault
    token = vault.token.get_secret_value() if vault.token else None
    client = hvac.Client(url=vault.address, token=token, timeout=10)
    client.secrets.kv.v2.create_or_update_secret(
        path=vault.path, secret=credentials, mount_point=vault.mount
    )
    print(f"credentials at {vault.mount}/{vault.path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
