"""The ledger's table of derivatives as Dagster shows it: what `enrichment` writes."""

from __future__ import annotations

import dagster as dg

LEDGER_TABLE = "media.derivative"

#: name, type in PostgreSQL, meaning; all of them not null unless it says so.
_COLUMNS = (
    ("asset_id", "text", "media asset"),
    ("content_version", "text", "which bytes of it: digest, etag or version id as announced"),
    ("kind", "text", "workload that made it: text, thumbnails, ocr, moderation"),
    ("fingerprint", "text", "processor, settings, libraries and model that made it"),
    ("outcome", "text", "how it ended: ok, not_applicable, unsupported, encrypted, invalid, ..."),
    ("message", "text", "reason, for people; empty where there is none"),
    ("input_digest", "text", "sha256 of the uploaded bytes; null when they were not read"),
    ("input_bytes", "bigint", "size of the uploaded object"),
    ("artifacts", "jsonb", "stored objects: name, type, key, sha256, size"),
    ("object_key", "text", "key of the first of them; null without any"),
    ("attributes", "jsonb", "what was found: pages, characters, language, scores, sizes"),
    ("seconds", "double precision", "time inside the processor"),
    ("fence", "bigint", "claim under which it was recorded; older ones are refused"),
    ("run_id", "text", "Dagster run that recorded it"),
    ("updated_at", "timestamp with time zone", "when"),
)
_NULLABLE = {"input_digest", "object_key"}
_KEY = ("asset_id", "content_version", "kind")


def ledger_columns() -> dg.TableSchema:
    """Columns of `media.derivative`; a test holds them against the migrated database."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                kind,
                description=meaning,
                constraints=dg.TableColumnConstraints(
                    nullable=name in _NULLABLE, other=["primary key"] if name in _KEY else []
                ),
            )
            for name, kind, meaning in _COLUMNS
        ],
    )
