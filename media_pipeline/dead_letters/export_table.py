"""Dead letters as a Parquet table, for those who analyse: pandas, DuckDB, a notebook.

The original records are there byte for byte, as binary columns. Nothing takes the table back:
what `validate` and `replay` read are the lines of `export_lines`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import IO, Any

from media_pipeline.dead_letters.grouping import error_fingerprint
from media_pipeline.domain.dead_letters import Letter
from media_pipeline.errors import PermanentError

#: Letters of one row group: with the largest payloads that stay in the ledger some 450 MB would
#: be possible, with usual ones it is less than one.
_PORTION = 500
_TEXTS = (
    "dlq_id", "stage", "code", "error_class", "message", "fingerprint", "state", "asset_id",
    "content_version", "run_id", "topic",
)  # fmt: skip
_NUMBERS = ("partition", "offset", "timestamp_ms", "attempts", "record_bytes", "replay_count")
_TIMES = ("first_failed_at", "last_failed_at")


def write_table(target: IO[bytes], letters: Iterable[Letter]) -> int:
    """Write letters with their records as Parquet; answers their number.

    PermanentError `parquet_missing` where pyarrow is not installed; ValueError for a letter
    without its record.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise PermanentError(
            "pyarrow is not installed, Parquet cannot be written.",
            remedy="pip install 'media-pipeline[parquet]', or export JSON Lines.",
            code="parquet_missing",
        ) from error
    import pandas as pd

    schema = _schema(pa)
    count = 0
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for portion in _portions(letters):
            frame = pd.DataFrame([_row(one) for one in portion], columns=schema.names)
            writer.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))
            count += len(portion)
    return count


def _portions(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    remaining = iter(letters)
    while portion := list(islice(remaining, _PORTION)):
        yield portion


def _schema(pa: Any) -> Any:
    header = pa.struct([("name", pa.string()), ("value", pa.binary())])
    return pa.schema(
        [
            *((name, pa.string()) for name in _TEXTS),
            *((name, pa.int64()) for name in _NUMBERS),
            *((name, pa.timestamp("us", tz="UTC")) for name in _TIMES),
            ("superseded", pa.bool_()),
            ("key", pa.binary()),
            ("value", pa.binary()),
            ("headers", pa.list_(header)),
        ]
    )


def _row(letter: Letter) -> dict[str, Any]:
    record = letter.record
    if record is None:
        raise ValueError(f"{letter.dlq_id} has no record")
    own = (*_TEXTS, *_NUMBERS, "superseded")
    return {
        **{name: getattr(letter, name) for name in own if name != "fingerprint"},
        **{name: datetime.fromisoformat(getattr(letter, name)) for name in _TIMES},
        "fingerprint": error_fingerprint(letter),
        "key": record.key,
        "value": record.value,
        "headers": [{"name": name, "value": value} for name, value in record.headers],
    }
