"""Which dead letters have the same cause: a fingerprint over stage, code and the message. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from media_pipeline.domain.dead_letters import Letter

_SAMPLES = 3
#: What differs from one media asset to the next though the cause is one. Order matters.
_MASKS = (
    (re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`"), "<text>"),
    # Names of uploads have blanks in them: up to what looks like the end of a file name.
    (re.compile(r"\S*\w/(?:[^\s.]*(?: [^\s/.]+){0,6} [^\s/]*\.[a-z0-9]{2,5}\b|\S*\w)"), "<path>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b(?:0x)?(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b"), "<digest>"),
    (re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}[t ][0-9:.]+(?:z|[+-][0-9:]+)?"), "<time>"),
    (re.compile(r"[0-9]+(?:[.,][0-9]+)*"), "<n>"),
    (re.compile(r"\s+"), " "),
)
_MAX_MESSAGE = 2000


def normalised(letter: Letter) -> str:
    """The message without what is of this media asset alone: ids, numbers, digests, paths."""
    text = letter.message[:_MAX_MESSAGE].lower()
    for own in (letter.asset_id, letter.content_version):
        if own:
            text = text.replace(own.lower(), "<id>")
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text.strip()


def error_fingerprint(letter: Letter) -> str:
    """12 hex: the same for all letters with the same cause."""
    parts = f"{letter.stage}\n{letter.code}\n{normalised(letter)}"
    return hashlib.sha256(parts.encode("utf-8", "replace")).hexdigest()[:12]


@dataclass
class Group:
    """Letters with one fingerprint; `example` is the first one's message as it was."""

    fingerprint: str
    stage: str
    code: str
    example: str
    first_seen: str
    last_seen: str
    count: int = 0
    states: dict[str, int] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)


def grouped(letters: Iterable[Letter]) -> list[Group]:
    """Groups, the largest first; memory grows with the causes, not with the letters."""
    groups: dict[str, Group] = {}
    for letter in letters:
        name = error_fingerprint(letter)
        group = groups.get(name)
        if group is None:
            group = groups[name] = Group(
                name, letter.stage, letter.code, letter.message, letter.first_failed_at,
                letter.last_failed_at,
            )  # fmt: skip
        group.count += 1
        group.states[letter.state] = group.states.get(letter.state, 0) + 1
        group.first_seen = min(group.first_seen, letter.first_failed_at)
        group.last_seen = max(group.last_seen, letter.last_failed_at)
        if len(group.samples) < _SAMPLES:
            group.samples.append(letter.dlq_id)
    return sorted(groups.values(), key=lambda group: (-group.count, group.fingerprint))
