"""Export files: written beside and renamed, so that a name never stands for half a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from media_pipeline.cli.dlq_source import LetterSource
from media_pipeline.dead_letters.export_lines import (
    csv_head,
    csv_line,
    end_line,
    head_line,
    letter_line,
)
from media_pipeline.dead_letters.grouping import error_fingerprint
from media_pipeline.domain.dead_letters import LetterFilter


def write_export(file: Path, source: LetterSource, wanted: LetterFilter, *, as_csv: bool) -> int:
    """Write the letters and answer their number; on any error the old file stays as it was."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
    count = 0
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as written:
            for line in _csv(source, wanted) if as_csv else _json_lines(source, wanted):
                written.write(line)
                count += 1
            written.flush()
            os.fsync(written.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return count - (1 if as_csv else 2)


def _json_lines(source: LetterSource, wanted: LetterFilter) -> Iterator[str]:
    yield head_line(source.name, datetime.now(UTC).isoformat(timespec="seconds"))
    count = 0
    for letter in source.letters(wanted, records=True):
        yield letter_line(letter)
        count += 1
    yield end_line(count)


def _csv(source: LetterSource, wanted: LetterFilter) -> Iterator[str]:
    yield csv_head()
    for letter in source.letters(wanted, records=False):
        yield csv_line(letter, error_fingerprint(letter))
