"""Export files: written beside and renamed, so that a name never stands for half a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO

from media_pipeline.cli.dlq_source import LetterSource
from media_pipeline.dead_letters.export_lines import (
    csv_head,
    csv_line,
    end_line,
    head_line,
    letter_line,
)
from media_pipeline.dead_letters.export_table import write_table
from media_pipeline.dead_letters.grouping import error_fingerprint
from media_pipeline.domain.dead_letters import LetterFilter


class Form(StrEnum):
    """What an export file is: lines that go back, or a table for people or for analysis."""

    LINES = "lines"
    CSV = "csv"
    PARQUET = "parquet"


def write_export(
    file: Path, source: LetterSource, wanted: LetterFilter, form: Form = Form.LINES
) -> int:
    """Write the letters and answer their number; on any error the old file stays as it was."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as written:
            if form is Form.PARQUET:
                count = write_table(written, source.letters(wanted, records=True))
            else:
                count = _write_lines(written, source, wanted, form)
            written.flush()
            os.fsync(written.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return count


def _write_lines(written: IO[bytes], source: LetterSource, wanted: LetterFilter, form: Form) -> int:
    lines, around = (_csv, 1) if form is Form.CSV else (_json_lines, 2)
    count = 0
    for line in lines(source, wanted):
        written.write(line.encode())
        count += 1
    return count - around


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
