"""ObjectStoreIOManager: files of many asset partitions, content-addressed, in one step.

Takes `Outcomes` (partition key -> artifacts or a named failure, streamed) and stores every
artifact under `derived/<kind>/<input digest>/<fingerprint>/<name>`. Only keys that are
handled are recorded as materialized. One small manifest per run and Dagster asset keeps
the descriptors; downstream gets `Derivatives` from it without reading any payload.

Used on its own, in any Dagster project with a partitioned asset:

    @dg.asset(partitions_def=..., backfill_policy=dg.BackfillPolicy.multi_run(200),
              io_manager_key="files")
    def report(context) -> dict[str, bytes]:
        return {key: render(key) for key in context.partition_keys}

    defs = dg.Definitions(assets=[report], resources={"files": ObjectStoreIOManager(
        object_store=ObjectStoreResource(...))})

A `dict[str, bytes]` is stored as one artifact per key; keys left out stay unmaterialized,
and an input annotated `dict` is loaded as partition key -> bytes again.
"""

# No postponed annotations: Dagster reads ResourceDependency from the real ones.
import gzip
import hashlib
import json
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import dagster as dg
from pydantic import Field

from media_pipeline.domain.identity import data_version, derived_object_key
from media_pipeline.domain.outcome import (
    Artifact,
    Code,
    Derivative,
    Derivatives,
    Outcome,
    Outcomes,
    ProcessorResult,
    StoredArtifact,
)
from media_pipeline.domain.ports import ObjectStore
from media_pipeline.errors import PermanentError
from media_pipeline.run_retries import systemic_errors_stop_retries
from media_pipeline.telemetry import spans
from media_pipeline.telemetry.phases import phase
from resources.batch import BatchResource
from resources.io_managers.input_versions import input_tags, newest_events, note_input
from resources.io_managers.manifest import derivative_from_json, derivative_to_json
from resources.io_managers.materialization_metadata import batch_metadata, key_metadata
from resources.io_managers.partition_events import (
    Stored,
    materializations,
    observations,
)

MANIFEST = "manifest"


class ObjectStoreIOManager(dg.ConfigurableIOManager):
    """Stores the artifacts of a batch and materializes exactly the keys that are handled."""

    object_store: dg.ResourceDependency[ObjectStore]
    batch: dg.ResourceDependency[BatchResource]
    transfer_threads: int = Field(default=8, description="Parallel uploads of one step.")

    def handle_output(  # type: ignore[override]  # Dagster takes generators, its types do not
        self, context: dg.OutputContext, obj: Outcomes | Mapping[str, bytes]
    ) -> Iterator[dg.DagsterEvent]:
        """Store while outcomes arrive; raises what the store or the stream raises."""
        started = time.monotonic()
        stored, handled, failed = Derivatives(), {}, {}
        upload_seconds = 0.0
        manifest = _manifest_key(context.asset_key, context.run_id)
        with systemic_errors_stop_retries(context.step_context.instance, context.run_id):
            for outcome, row, seconds in self._upload(_as_outcomes(context, obj)):
                stored[row.asset_id] = row
                upload_seconds += seconds
                if row.code.handled:
                    tags = input_tags(context, row.asset_id)
                    handled[row.asset_id] = self._describe(row, outcome.result.preview, tags)
                else:
                    failed[row.asset_id] = key_metadata(row, None, self.object_store.link)
            self.object_store.put(manifest, _pack(stored), "application/gzip")
        elapsed = time.monotonic() - started
        shared = batch_metadata(stored, elapsed_seconds=elapsed, upload_seconds=upload_seconds)
        context.add_output_metadata(shared)
        yield from observations(context, failed)
        yield from materializations(
            context, handled, {**shared, MANIFEST: dg.MetadataValue.text(manifest)}
        )

    def load_input(self, context: dg.InputContext) -> Any:
        """`Derivatives` of the batch's keys, or partition key -> bytes for plain `dict` inputs.

        Upstream in the same run: its manifest, failures included. Otherwise the manifest of
        each key's latest materialization; keys never materialized are absent.
        """
        asset_key = context.asset_key
        run_id = context.step_context.run_id
        try:
            rows = _unpack(self.object_store.get(_manifest_key(asset_key, run_id)))
            events = newest_events(context, set(rows))
        except PermanentError:
            rows, events = self._from_history(context, asset_key)
        versions = {
            key: data_version(row.input_digest, row.fingerprint) for key, row in rows.items()
        }
        note_input(context, versions, events)
        if context.dagster_type.typing_type is not Derivatives:
            return {
                key: self.object_store.get(row.artifacts[0].object_key)
                for key, row in rows.items()
                if row.artifacts
            }
        return rows

    def _describe(self, row: Derivative, preview: bytes | None, tags: Mapping[str, str]) -> Stored:
        """What Dagster keeps of one key; equal bytes and equal fingerprint: equal version."""
        return Stored(
            metadata=key_metadata(row, preview, self.object_store.link),
            data_version=data_version(row.input_digest, row.fingerprint),
            code_version=row.fingerprint,
            tags=tags,
        )

    def _upload(self, outcomes: Iterable[Outcome]) -> Iterator[tuple[Outcome, Derivative, float]]:
        """Store outcomes with bounded look-ahead, so memory holds a few files, not a batch."""
        window: deque[tuple[Outcome, Future[tuple[Derivative, float]]]] = deque()
        with ThreadPoolExecutor(self.transfer_threads, "upload") as threads:
            for outcome in outcomes:
                window.append((outcome, threads.submit(self._store, outcome)))
                if len(window) >= 2 * self.transfer_threads:
                    first, future = window.popleft()
                    yield (first, *future.result())
            while window:
                first, future = window.popleft()
                yield (first, *future.result())

    def _store(self, outcome: Outcome) -> tuple[Derivative, float]:
        started, result = time.monotonic(), outcome.result
        _note_processing(outcome)
        artifacts = []
        for artifact in result.artifacts:
            key = derived_object_key(
                outcome.kind, outcome.input_digest or "none", outcome.fingerprint, artifact.name
            )
            whose = (outcome.asset_id, outcome.content_version)
            with phase("upload"), spans.timed(f"upload {outcome.kind}", *whose):
                self.object_store.put(key, artifact.data, artifact.content_type)
            digest = hashlib.sha256(artifact.data).hexdigest()
            artifacts.append(
                StoredArtifact(
                    artifact.name, artifact.content_type, key, digest, len(artifact.data)
                )
            )
        derivative = Derivative(
            asset_id=outcome.asset_id,
            content_version=outcome.content_version,
            fence=outcome.fence,
            kind=outcome.kind,
            fingerprint=outcome.fingerprint,
            input_digest=outcome.input_digest,
            input_bytes=outcome.input_bytes,
            code=result.code,
            message=result.message,
            artifacts=tuple(artifacts),
            attributes=result.attributes,
            seconds=result.seconds,
        )
        return derivative, time.monotonic() - started

    def _from_history(
        self, context: dg.InputContext, asset_key: dg.AssetKey
    ) -> tuple[Derivatives, dict[str, int]]:
        """Rows, and by key the id of the materialization that each was read from."""
        wanted = set(self.batch.behind(context.asset_partition_keys))
        found, events = Derivatives(), {}
        for manifest, ids in self._latest_manifests(context.instance, asset_key, wanted).items():
            rows = _unpack(self.object_store.get(manifest))
            found.update({key: rows[key] for key in ids if key in rows})
            events.update(ids)
        return found, events

    @staticmethod
    def _latest_manifests(
        instance: dg.DagsterInstance, asset_key: dg.AssetKey, wanted: set[str]
    ) -> dict[str, dict[str, int]]:
        """Manifest -> key -> event id, from the newest materialization of each wanted key."""
        missing, cursor = set(wanted), None
        manifests: dict[str, dict[str, int]] = {}
        while missing:
            page = instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=asset_key, asset_partitions=sorted(missing)),
                limit=1000,
                cursor=cursor,
            )
            for record in page.records:
                event = record.asset_materialization
                if event is None or event.partition not in missing:
                    continue
                missing.discard(event.partition)
                value = event.metadata.get(MANIFEST)
                if value is not None and isinstance(value.value, str):
                    manifests.setdefault(value.value, {})[event.partition] = record.storage_id
            if not page.has_more:
                break
            cursor = page.cursor
        return manifests


def _note_processing(outcome: Outcome) -> None:
    """The processor has just answered: it began its seconds ago."""
    now, result = time.time(), outcome.result
    spans.note(
        outcome.kind, outcome.asset_id, outcome.content_version, started=now - result.seconds,
        ended=now, failure="" if result.code.handled else str(result.code),
        outcome=str(result.code), input_bytes=outcome.input_bytes,
    )  # fmt: skip


def _as_outcomes(
    context: dg.OutputContext, obj: Outcomes | Mapping[str, bytes]
) -> Iterable[Outcome]:
    """Streams pass; a plain mapping becomes one artifact per key, addressed by its content."""
    if isinstance(obj, Outcomes):
        return obj
    kind = context.asset_key.path[-1]
    return (
        Outcome(
            asset_id=key,
            content_version="",
            fence=0,
            kind=kind,
            fingerprint="bytes-1",
            input_digest=hashlib.sha256(data).hexdigest(),
            input_bytes=len(data),
            result=ProcessorResult(
                Code.OK, artifacts=(Artifact("content", "application/octet-stream", data),)
            ),
        )
        for key, data in obj.items()
    )


def _manifest_key(asset_key: dg.AssetKey, run_id: str) -> str:
    return f"manifests/{'/'.join(asset_key.path)}/{run_id}.json.gz"


def _pack(rows: Derivatives) -> bytes:
    document = {"schema": 1, "derivatives": [derivative_to_json(row) for row in rows.values()]}
    return gzip.compress(json.dumps(document, separators=(",", ":")).encode(), 3, mtime=0)


def _unpack(data: bytes) -> Derivatives:
    document = json.loads(gzip.decompress(data))
    rows = (derivative_from_json(row) for row in document["derivatives"])
    return Derivatives({row.asset_id: row for row in rows})
