"""All checks in order; what cannot be judged without an earlier one is left out and said so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from media_pipeline.settings import Settings
from resources.credentials import credential_source
from resources.doctor.dagster_storage import check_dagster_storage
from resources.doctor.event_log import check_event_log
from resources.doctor.finding import Finding, skipped, warning
from resources.doctor.ledger import check_ledger
from resources.doctor.object_store import check_buckets
from resources.doctor.vault import check_identity, check_keys, check_vault
from resources.event_log import KafkaEventSource
from resources.object_store import S3ObjectStore
from resources.postgrest_client import PostgrestClient


def diagnose(
    settings: Settings, now: Callable[[], float] = time.time, unknown: Sequence[str] = ()
) -> Iterator[Finding]:
    """Findings as they are made; raises nothing for what a dependency does wrong.

    `unknown`: variables that look like settings and are none.
    """
    if unknown:
        yield warning(
            "settings",
            f"{', '.join(unknown)}: no such setting, so nothing reads it.",
            "unknown_setting",
            "correct the name (media_pipeline/settings.py lists all), or take it out.",
        )
    source = credential_source(settings)
    vault = check_vault(settings, source, now())
    yield from vault
    if any(one.state == "failed" and one.code != "clock_skew" for one in vault):
        for name in ("ledger token", "object store keys", "buckets", "ledger"):
            yield skipped(name, "needs Vault.")
    else:
        identity = check_identity(source, now())
        yield from identity
        keys = check_keys(settings, source)
        yield from keys
        if any(one.state == "failed" for one in keys):
            yield skipped("buckets", "needs keys.")
        else:
            yield from check_buckets(settings, S3ObjectStore(settings.object_store, source))
        if any(one.code in ("credentials_missing", "credentials_refused") for one in identity):
            yield skipped("ledger", "needs a token.")
        else:
            ledger = settings.ledger
            client = PostgrestClient(
                ledger.url, source, schema=ledger.schema_name, timeout_seconds=10
            )
            yield from check_ledger(settings, client, now())
    events = KafkaEventSource(settings.kafka, source)
    try:
        yield from check_event_log(settings, events, source)
    finally:
        events.close()
    yield from check_dagster_storage()
