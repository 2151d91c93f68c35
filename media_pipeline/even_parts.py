"""Cutting a sequence into parts of about the same length. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

One = TypeVar("One")


def even_size(count: int, most: int) -> int:
    """Length of the parts of `count` things: as few parts as parts of `most` would be."""
    return math.ceil(count / math.ceil(count / most))


def cut(things: Sequence[One], size: int) -> list[Sequence[One]]:
    """Parts of that length, the last one may be shorter; order kept."""
    return [things[start : start + size] for start in range(0, len(things), size)]
