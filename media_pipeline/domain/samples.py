"""Samples of what was enriched: the port, and what it gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from media_pipeline.domain.media_asset import MediaAsset


@dataclass(frozen=True, slots=True)
class SampledMedia:
    """One media asset of a sample. `rank`: its place in the order of that seed.
    `fingerprint` and `attributes`: of its derivative, as recorded."""

    rank: str
    asset: MediaAsset
    fingerprint: str
    attributes: Mapping[str, object]


class SampleStore(Protocol):
    """Draws from media assets whose newest content version has an `ok` derivative of a kind.

    Implemented in `resources.sample_store` and `tests/fakes`; reads alone.
    """

    def population(self, kind: str) -> int:
        """How many there are to draw from."""
        ...

    def page(self, kind: str, seed: str, after_rank: str | None, limit: int) -> list[SampledMedia]:
        """At most `limit` after that rank, in an order that the seed alone decides."""
        ...


def draw(
    store: SampleStore, kind: str, seed: str, size: int, *, page_rows: int = 500
) -> Iterator[Sequence[SampledMedia]]:
    """`size` media assets, or all where there are fewer, in pages: memory stays bounded."""
    after, left = None, size
    while left > 0:
        rows = store.page(kind, seed, after, min(page_rows, left))
        if not rows:  # a short page is no end: PostgREST may have a limit of its own
            return
        yield rows
        after, left = rows[-1].rank, left - len(rows)
