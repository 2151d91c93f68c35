"""What a replay did, proven from the ledger's rows before and after it. Pure.

Used by whatever sends messages again: dead letters, missed events. A picture keeps about a
hundred bytes per row, whatever stands in it, so a proof over a hundred thousand media assets
fits into memory. Take one before, one after, and `prove`:

    before = picture(rows)          # rows of the versions that will be sent
    ...                             # send, wait until each has ended
    proof = prove(versions, before, picture(rows_now), unfinished=still_waiting)
    if not proof.holds: ...
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from media_pipeline.domain.outcome import Code, Derivative

#: Media asset id and content version.
Version = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RowPicture:
    """One derivative row. `identity`: kind, input, fingerprint and names: what it was made of
    and must be called by. `content`: digests of what was made. `places`: object keys."""

    code: Code
    identity: bytes
    content: bytes
    places: bytes


@dataclass(frozen=True, slots=True)
class Picture:
    """Rows by version and kind. `repeated`: versions of which a kind stood there twice."""

    rows: Mapping[Version, Mapping[str, RowPicture]]
    repeated: frozenset[Version] = frozenset()

    @property
    def row_count(self) -> int:
        return sum(map(len, self.rows.values()))


@dataclass(frozen=True, slots=True)
class ReplayProof:
    """How each version that was sent again ended; every one is in exactly one of the five.

    `new`: enriched now, and not before. `identical`: enriched as before, byte for byte.
    `changed`: enriched before and now, with other content. `dead_lettered`: nothing usable.
    `unfinished`: not ended when the proof was made. `duplicates`: what must never be: a row
    twice, a row that is gone, or the same content under two object keys.
    """

    new: tuple[Version, ...]
    identical: tuple[Version, ...]
    changed: tuple[Version, ...]
    dead_lettered: tuple[Version, ...]
    unfinished: tuple[Version, ...]
    duplicates: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Nothing was duplicated and nothing was lost."""
        return not self.duplicates

    def counts(self) -> dict[str, int]:
        """Name -> number, in the order in which people read it."""
        names = ("new", "identical", "changed", "dead_lettered", "unfinished", "duplicates")
        return {name: len(getattr(self, name)) for name in names}

    def summary(self) -> str:
        """One line for people."""
        said = ", ".join(
            f"{number} {name.replace('dead_lettered', 'dead-lettered again')}"
            for name, number in self.counts().items()
            if name != "duplicates"
        )
        if self.holds:
            return f"{said}; 0 duplicate objects, 0 duplicate rows"
        return f"{said}; {len(self.duplicates)} DUPLICATES: {'; '.join(self.duplicates[:5])}"


def picture(rows: Iterable[Derivative]) -> Picture:
    """A picture of these rows; they may come page by page."""
    found: dict[Version, dict[str, RowPicture]] = {}
    repeated = set()
    for row in rows:
        version = (row.asset_id, row.content_version)
        kinds = found.setdefault(version, {})
        if row.kind in kinds:
            repeated.add(version)
        kinds[row.kind] = _picture_of(row)
    return Picture(found, frozenset(repeated))


def prove(
    versions: Iterable[Version],
    before: Picture,
    after: Picture,
    *,
    unfinished: Collection[Version] = (),
) -> ReplayProof:
    """Sort every version by how it ended, and look for what was stored twice."""
    ends: dict[str, list[Version]] = {
        name: [] for name in ("new", "identical", "changed", "dead_lettered", "unfinished")
    }
    waiting = set(unfinished)
    for version in dict.fromkeys(versions):
        end = "unfinished" if version in waiting else _end(version, before, after)
        ends[end].append(version)
    return ReplayProof(
        **{name: tuple(listed) for name, listed in ends.items()},
        duplicates=tuple(_duplicates(before, after)),
    )


def _end(version: Version, before: Picture, after: Picture) -> str:
    nothing: Mapping[str, RowPicture] = {}
    then, now = before.rows.get(version, nothing), after.rows.get(version, nothing)
    if not now:
        return "unfinished"
    if not _enriched(now):
        return "dead_lettered"
    if not _enriched(then):
        return "new"
    same = {kind: (row.code, row.content) for kind, row in then.items()} == {
        kind: (row.code, row.content) for kind, row in now.items()
    }
    return "identical" if same else "changed"


def _enriched(rows: Mapping[str, RowPicture]) -> bool:
    """As `domain.outcome.verdict` decides: something usable, or nothing that failed."""
    codes = [row.code for row in rows.values()]
    return Code.OK in codes or (bool(codes) and all(code.handled for code in codes))


def _duplicates(before: Picture, after: Picture) -> Iterable[str]:
    for twice in sorted(after.repeated):
        yield f"{' '.join(twice)}: a kind has two rows"
    for version, kinds in before.rows.items():
        gone = sorted(set(kinds) - set(after.rows.get(version, ())))
        if gone:
            yield f"{' '.join(version)}: rows of {', '.join(gone)} are gone"
    # Made of the same and called the same: it must lie in one place, whoever made it when.
    places: dict[bytes, bytes] = {}
    for seen in (before, after):
        for version, kinds in seen.rows.items():
            for kind, row in kinds.items():
                if places.setdefault(row.identity, row.places) != row.places:
                    yield f"{' '.join(version)}: {kind} is stored under two object keys"


def _picture_of(row: Derivative) -> RowPicture:
    parts = sorted(row.artifacts, key=lambda part: part.name)
    return RowPicture(
        code=row.code,
        identity=_digest(
            row.kind, row.input_digest or "", row.fingerprint, *(part.name for part in parts)
        ),
        content=_digest(*(f"{part.name}\n{part.digest}" for part in parts)),
        places=_digest(*(part.object_key for part in parts)),
    )


def _digest(*parts: str) -> bytes:
    """Of the parts, each kept apart from the next."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()[:16]
