"""Lanes: what kinds of work there are for a worker, and what each needs and may do.

A worker serves one lane for life, because what it may do is fixed with its first file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

LaneName = Literal["decode", "execute", "inference", "accelerator"]


@dataclass(frozen=True, slots=True)
class Lane:
    """`may_execute`: it starts a program. `confined`: Landlock and seccomp are in force; an
    accelerator's driver bears neither, and its workers see numbers, never files.
    `preload`: modules imported by the zygote when the lane is first used."""

    may_execute: bool = False
    confined: bool = True
    preload: tuple[str, ...] = ()


LANES: Mapping[LaneName, Lane] = {
    "decode": Lane(),
    "execute": Lane(may_execute=True, preload=("pytesseract",)),
    "inference": Lane(preload=("torch",)),
    "accelerator": Lane(confined=False, preload=("torch",)),
}
NAMES: tuple[LaneName, ...] = tuple(LANES)
