"""Dead letters as lines of a file, and back: nothing half-written, foreign or changed gets in.

JSON Lines: a head, one line per letter with its original record in base64 and a check sum, an
end with the number of letters. Pure: lines in, lines out.
"""

from __future__ import annotations

import base64
import binascii
import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from media_pipeline.domain.dead_letters import Letter
from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.errors import PermanentError

SCHEMA = 1
_CHECK = "sha256"
_PLAIN = tuple(field.name for field in dataclasses.fields(Letter) if field.name != "record")
CSV_COLUMNS = (*_PLAIN, "fingerprint")
#: What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def head_line(source: str, exported_at: str) -> str:
    """The first line: what this file is."""
    return _line({"dead_letters": SCHEMA, "source": source, "exported_at": exported_at})


def letter_line(letter: Letter) -> str:
    """One letter with its record; ValueError without one."""
    if letter.record is None:
        raise ValueError(f"{letter.dlq_id} has no record")
    record = letter.record
    document = {
        **{name: getattr(letter, name) for name in _PLAIN},
        "record": {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp_ms": record.timestamp_ms,
            "key": _base64(record.key),
            "value": _base64(record.value),
            "headers": [[name, _base64(value)] for name, value in record.headers],
        },
    }
    return _line({**document, _CHECK: _check(document)})


def end_line(count: int) -> str:
    """The last line: without it the file is half a file."""
    return _line({"end": count})


def read_lines(lines: Iterable[bytes], name: str) -> Iterator[Letter]:
    """The letters of a file called `name`, in order.

    PermanentError `export_refused` with the line number for anything that `head_line`,
    `letter_line` and `end_line` did not write. Letters before that line have been handed out:
    read a file to its end once before acting on it.
    """
    count, number, ended = 0, 0, False
    for number, line in enumerate(lines, 1):
        document = _document(line, name, number)
        if ended:
            raise _refused(name, number, "there are lines after the end")
        if number == 1:
            if document.get("dead_letters") != SCHEMA:
                raise _refused(name, number, "this is no export of dead letters")
        elif "end" in document:
            if document["end"] != count:
                said = f"the end says {document['end']} letters, there are {count}"
                raise _refused(name, number, said)
            ended = True
        else:
            yield _letter(document, name, number)
            count += 1
    if not ended:
        raise _refused(name, number + 1, "the file ends without its last line: it was cut off")


def csv_head() -> str:
    """Names of the columns."""
    return _csv(CSV_COLUMNS)


def csv_line(letter: Letter, fingerprint: str) -> str:
    """One letter for people, without its record; no cell is a formula."""
    cells = [*(getattr(letter, name) for name in _PLAIN), fingerprint]
    return _csv([_cell(value) for value in cells])


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    # A line break within a cell is a line break in the file for whoever reads it line by line.
    text = text.replace("\n", " ").replace("\x00", "\ufffd")
    return f"'{text}" if text.startswith(_FORMULA) else text


def _csv(cells: Iterable[str]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow(cells)
    return written.getvalue()


def _line(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":")) + "\n"


def _check(document: dict[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _document(line: bytes, name: str, number: int) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise _refused(name, number, "the line is cut off")
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _refused(name, number, f"no JSON ({error})") from error
    if not isinstance(document, dict):
        raise _refused(name, number, "no JSON object")
    return document


def _letter(document: dict[str, Any], name: str, number: int) -> Letter:
    check = document.pop(_CHECK, None)
    if check != _check(document):
        raise _refused(name, number, "the check sum is not that of the line: it was changed")
    try:
        kept = document.pop("record")
        record = MessageRecord(
            topic=kept["topic"],
            partition=kept["partition"],
            offset=kept["offset"],
            timestamp_ms=kept["timestamp_ms"],
            key=_bytes(kept["key"]),
            value=_bytes(kept["value"]),
            headers=tuple((header, _bytes(value) or b"") for header, value in kept["headers"]),
        )
        return Letter(**document, record=record)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise _refused(name, number, f"no dead letter ({error!r})") from error


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def _refused(name: str, number: int, why: str) -> PermanentError:
    return PermanentError(
        f"{name}, line {number}: {why}. Nothing was done.",
        remedy="export again with `media-pipeline dlq export`, and give that file (JSON Lines)"
        " as it is.",
        code="export_refused",
    )
