"""JSON artifacts: packed the same way everywhere, so that equal content gives equal bytes."""

from __future__ import annotations

import gzip
import json
from typing import Any

#: Fast and small enough; the default level costs twice the time for a few per cent.
_LEVEL = 5


def packed_json(document: Any) -> bytes:
    """gzip of compact UTF-8 JSON, without a time stamp."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return gzip.compress(text.encode("utf-8", "replace"), _LEVEL, mtime=0)


def unpacked_json(data: bytes) -> Any:
    """The inverse of `packed_json`; ValueError or OSError for anything else."""
    return json.loads(gzip.decompress(data))
