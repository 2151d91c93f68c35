"""A trial: what the processors of today make of media assets, in the cage, storing nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from media_pipeline.assets.derived_media import build_workload
from media_pipeline.assets.moderation import ready_work
from media_pipeline.assets.moderation_work import model_directory
from media_pipeline.assets.ocr import OcrWork
from media_pipeline.assets.source_media import SourceMedia
from media_pipeline.assets.staged_workload import process_staged_batch
from media_pipeline.assets.workload import process_batch
from media_pipeline.domain.media_asset import MediaAsset, SourceObject
from media_pipeline.domain.outcome import Code, Derivative, Derivatives, Outcome, Outcomes, verdict
from media_pipeline.domain.ports import Claim, FetchedObject, ObjectStore
from media_pipeline.fingerprints import current_model
from media_pipeline.settings import Settings
from media_pipeline.workers.limits import WorkerLimits
from media_pipeline.workers.pool import WorkerPool


class ReadingStore:
    """An `ObjectStore` that keeps nothing: what workloads remember for later is dropped."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def fetch(self, source: SourceObject, into: Path, *, max_bytes: int) -> FetchedObject:
        """See `ObjectStore.fetch`."""
        return self._store.fetch(source, into, max_bytes=max_bytes)

    def get(self, object_key: str) -> bytes:
        """See `ObjectStore.get`."""
        return self._store.get(object_key)

    def put(self, object_key: str, data: bytes, content_type: str) -> None:
        """Nothing is stored."""

    def upload(self, bucket: str, object_key: str, data: bytes, content_type: str | None) -> None:
        """Nothing is stored."""

    def list_keys(self, prefix: str) -> list[str]:
        """See `ObjectStore.list_keys`."""
        return self._store.list_keys(prefix)

    def link(self, object_key: str) -> str:
        """See `ObjectStore.link`."""
        return self._store.link(object_key)

    def probe(self) -> None:
        """See `ObjectStore.probe`."""
        self._store.probe()


class Trial:
    """Warm workers and a scratch directory; use `trial` to get one."""

    def __init__(
        self, settings: Settings, store: ReadingStore, pool: WorkerPool, scratch: Path
    ) -> None:
        self._settings = settings
        self._store = store
        self._pool = pool
        self._scratch = scratch

    def of(self, assets: Mapping[str, MediaAsset]) -> dict[str, tuple[str, str]]:
        """Name -> (pass | fail | unknown, reason); names are the caller's.

        SystemicError when nothing can be processed at all: no model, a missing bucket.
        """
        by_version = {(one.asset_id, one.content_version): one for one in assets.values()}
        answers: dict[tuple[str, str], tuple[str, str]] = {}
        while by_version:
            # A batch holds one version of each media asset, here as in a run.
            batch = {key[0]: one for key, one in reversed(by_version.items())}
            for one in batch.values():
                del by_version[one.asset_id, one.content_version]
            answers.update(self._batch(list(batch.values())))
        return {name: answers[one.asset_id, one.content_version] for name, one in assets.items()}

    def _batch(self, assets: Sequence[MediaAsset]) -> dict[tuple[str, str], tuple[str, str]]:
        claims = [Claim(asset, 0, 1, "registered") for asset in assets]
        by_kind: dict[str, Derivatives] = {}
        with tempfile.TemporaryDirectory(dir=self._scratch) as directory:
            source = SourceMedia(
                self._store,
                Path(directory),
                max_bytes=self._settings.object_store.max_object_bytes,
            )
            for kind in self._settings.workloads:
                outcomes = self._outcomes(kind, claims, source, by_kind)
                by_kind[kind] = Derivatives({one.asset_id: _unstored(one) for one in outcomes})
        return {
            (asset.asset_id, asset.content_version): _verdict(
                [rows[asset.asset_id] for rows in by_kind.values()]
            )
            for asset in assets
        }

    def _outcomes(
        self,
        kind: str,
        claims: Sequence[Claim],
        source: SourceMedia,
        by_kind: Mapping[str, Derivatives],
    ) -> Outcomes:
        settings = self._settings
        threads = settings.object_store.transfer_threads
        fetch, pool = source.fetch, self._pool
        if kind == "ocr":
            ocr = OcrWork(settings, by_kind.get("text", Derivatives()), self._store)
            return process_staged_batch(ocr, claims, fetch=fetch, pool=pool, fetch_threads=threads)
        if kind == "moderation":
            moderation = ready_work(settings, current_model(settings), self._store)
            return process_staged_batch(
                moderation, claims, fetch=fetch, pool=pool, fetch_threads=threads
            )
        workload = build_workload(kind, settings)
        return process_batch(workload, claims, fetch=fetch, pool=pool, fetch_threads=threads)


@contextmanager
def trial(settings: Settings, store: ObjectStore) -> Iterator[Trial]:
    """A trial with the same limits as a run; everything ends and is removed after the block."""
    packs = settings.processing.ocr_tessdata
    limits = WorkerLimits(
        memory_bytes=settings.processing.worker_memory_bytes,
        recycle_tasks=settings.processing.worker_recycle_tasks,
        readable=(str(model_directory(settings)), *([packs] if packs else [])),
    )
    with (
        tempfile.TemporaryDirectory(
            prefix="media-pipeline-trial-", dir=settings.processing.scratch_dir
        ) as scratch,
        WorkerPool(
            settings.processing.workers or None,
            limits,
            lane_sizes={"accelerator": settings.moderation.accelerators},
        ) as pool,
    ):
        yield Trial(settings, ReadingStore(store), pool, Path(scratch))


def _unstored(outcome: Outcome) -> Derivative:
    result = outcome.result
    return Derivative(
        asset_id=outcome.asset_id,
        content_version=outcome.content_version,
        fence=0,
        kind=outcome.kind,
        fingerprint=outcome.fingerprint,
        input_digest=outcome.input_digest,
        input_bytes=outcome.input_bytes,
        code=result.code,
        message=result.message,
        artifacts=(),
        attributes=result.attributes,
        seconds=result.seconds,
    )


def _verdict(rows: Sequence[Derivative]) -> tuple[str, str]:
    """As a run would decide; a transient failure says nothing of the letter."""
    decided = verdict(rows)
    reason = f"{decided.stage}/{decided.code}: {decided.message}" if decided.code else ""
    if decided.status == "retry" or any(row.code is Code.TRANSIENT for row in rows):
        return "unknown", reason
    return ("fail" if decided.status == "dead_lettered" else "pass"), reason
