"""JSON from strangers: strict where JSON is vague, and never an unexpected exception."""

from __future__ import annotations

import json
from typing import Any


class NotJsonError(ValueError):
    """Why the bytes are no JSON document; `code` is the dead letter's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def load_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`; NotJsonError for anything else, also duplicate keys and NaN."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJsonError("invalid_utf8", f"byte {error.start} is not UTF-8") from error
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except NotJsonError:
        raise
    except RecursionError as error:
        raise NotJsonError("malformed_json", "nested too deeply") from error
    except ValueError as error:  # JSONDecodeError, and integers of too many digits
        raise NotJsonError("malformed_json", str(error)) from error
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise NotJsonError("not_an_object", f"the document is a {kind}, not an object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        # Two readers could take different values of the same name.
        raise NotJsonError("malformed_json", "a key stands twice in one object")
    return made


def _refuse(constant: str) -> None:
    raise NotJsonError("malformed_json", f"{constant} is not JSON")
