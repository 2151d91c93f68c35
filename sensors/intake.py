"""From polled records to what must run: parse, dead-letter, register, sort. No Dagster.

Every record leaves in exactly one way: in a batch, as a dead letter, or as a duplicate of
what the ledger already knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from media_pipeline.contracts.media_ingested import STAGE, Rejected, parse_media_ingested
from media_pipeline.domain.media_asset import MediaAsset, MessageRecord, Priority
from media_pipeline.domain.ports import Arrival, MetadataStore, Registration, RejectedMessage
from media_pipeline.errors import SystemicError
from media_pipeline.settings import BatchSettings


@dataclass(frozen=True, slots=True)
class Sorted:
    """What one poll means. `fresh` media assets were never seen; `known` ones have a
    partition already (or may have one). `later` are further content versions of a media
    asset that is already in `fresh` or `known`: one run can hold one version of each."""

    fresh: list[Arrival] = field(default_factory=list)
    known: list[Arrival] = field(default_factory=list)
    later: list[list[Arrival]] = field(default_factory=list)
    rejected: list[RejectedMessage] = field(default_factory=list)
    duplicates: int = 0


def parse_all(
    records: Sequence[MessageRecord], allowed_buckets: Collection[str]
) -> tuple[list[Arrival], list[RejectedMessage]]:
    """Valid messages and invalid ones, each in order."""
    arrivals, rejected = [], []
    for record in records:
        parsed = parse_media_ingested(record, allowed_buckets=allowed_buckets)
        if isinstance(parsed, Rejected):
            rejected.append(RejectedMessage(record, STAGE, parsed.code, parsed.message))
        else:
            arrivals.append(Arrival(parsed, record))
    return arrivals, rejected


def require_sane_ratio(
    rejected: Sequence[RejectedMessage], total: int, settings: BatchSettings
) -> None:
    """A bad message is a dead letter; a bad producer or deploy stops the sensor."""
    if total < settings.min_messages_for_ratio:
        return
    ratio = len(rejected) / total
    if ratio > settings.max_invalid_ratio:
        reasons = sorted({f"{one.code}: {one.message}" for one in rejected})[:3]
        raise SystemicError(
            f"{len(rejected)} of {total} messages are invalid ({ratio:.0%}, limit"
            f" {settings.max_invalid_ratio:.0%}), from {rejected[0].record.coordinates} on:"
            f" {'; '.join(reasons)}. Nothing was dead-lettered, the cursor did not move.",
            remedy="mend the producer or the contract; to dead-letter them all, raise"
            " MEDIA_PIPELINE_BATCH__MAX_INVALID_RATIO.",
            code="invalid_ratio",
        )


def sort_arrivals(
    records: Sequence[MessageRecord],
    metadata_store: MetadataStore,
    allowed_buckets: Collection[str],
    settings: BatchSettings,
    pipeline_version: str,
) -> Sorted:
    """Dead-letter the invalid, register the valid, and say which must run how."""
    arrivals, rejected = parse_all(records, allowed_buckets)
    require_sane_ratio(rejected, len(records), settings)
    if rejected:
        metadata_store.reject(rejected, pipeline_version)
    registered = metadata_store.register(arrivals) if arrivals else []
    result = Sorted(rejected=rejected)
    waves: dict[str, int] = {}
    duplicates = 0
    for arrival, known in zip(arrivals, registered, strict=True):
        if not _must_run(known):
            duplicates += 1
            continue
        wave = waves.get(arrival.asset.asset_id, 0)
        waves[arrival.asset.asset_id] = wave + 1
        if wave:
            while len(result.later) < wave:
                result.later.append([])
            result.later[wave - 1].append(arrival)
        elif known.first_seen and not known.asset_known:
            result.fresh.append(arrival)
        else:
            result.known.append(arrival)
    return Sorted(result.fresh, result.known, result.later, rejected, duplicates)


def _must_run(known: Registration) -> bool:
    """New content runs. A message that was registered before runs again only when it is the
    very same record and unfinished: then an earlier tick died before it launched anything, or
    it is a replay, for which the ledger has just opened the dead-lettered row again."""
    return known.first_seen or (known.same_message and not known.finished)


def without_held(
    found: Sorted, scope_of: Callable[[MediaAsset], str]
) -> tuple[Sorted, dict[str, list[Arrival]]]:
    """`found` without the media assets that wait for something, and those by its scope.

    `scope_of`: what a media asset waits for, empty when nothing.
    """
    held: dict[str, list[Arrival]] = {}

    def kept(arrivals: Sequence[Arrival]) -> list[Arrival]:
        rest = []
        for one in arrivals:
            scope = scope_of(one.asset)
            if scope:
                held.setdefault(scope, []).append(one)
            else:
                rest.append(one)
        return rest

    later = [wave for wave in map(kept, found.later) if wave]
    rest = Sorted(kept(found.fresh), kept(found.known), later, found.rejected, found.duplicates)
    return rest, held


def lane_of(assets: Sequence[MediaAsset]) -> Priority:
    """`backfill` only when every media asset of the batch is one."""
    return "backfill" if all(asset.priority == "backfill" for asset in assets) else "live"
