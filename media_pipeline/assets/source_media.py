"""Uploaded objects on local disk, fetched once per run and shared by all of its steps."""

# No postponed annotations: Dagster reads ResourceDependency from the real ones.
import hashlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from pydantic import Field

from media_pipeline.domain.media_asset import MediaAsset
from media_pipeline.domain.ports import FetchedObject, ObjectStore
from media_pipeline.errors import PermanentError
from media_pipeline.telemetry import spans


class SourceMedia:
    """Fetches each content version once; later askers get the same file or the same error.

    Thread-safe for different media assets. Permanent errors are remembered, so the second
    step does not ask for a missing object again; other errors are not.
    """

    def __init__(self, store: ObjectStore, directory: Path, *, max_bytes: int) -> None:
        self._store = store
        self._directory = directory
        self._max_bytes = max_bytes
        self._known: dict[tuple[str, str], FetchedObject | PermanentError] = {}
        self._lock = threading.Lock()

    def fetch(self, asset: MediaAsset) -> FetchedObject:
        """Raises what `ObjectStore.fetch` raises."""
        identity = (asset.asset_id, asset.content_version)
        with self._lock:
            known = self._known.get(identity)
        if known is None:
            # Hashed: content versions contain characters that file names may not.
            name = hashlib.sha256("\n".join(identity).encode()).hexdigest()
            try:
                with spans.timed("download", *identity):
                    known = self._store.fetch(
                        asset.source, self._directory / name, max_bytes=self._max_bytes
                    )
            except PermanentError as error:
                known = error
            with self._lock:
                self._known[identity] = known
        if isinstance(known, PermanentError):
            raise known
        return known


class SourceMediaResource(dg.ConfigurableResource[SourceMedia]):
    """Gives steps a `SourceMedia` over a scratch directory that is removed with the run."""

    object_store: dg.ResourceDependency[ObjectStore]
    max_object_bytes: int = Field(description="Larger objects end as too_large, unread.")
    scratch_dir: str | None = Field(
        default=None, description="Parent of the scratch directory; default: system temp."
    )

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[SourceMedia]:
        run_id = context.run_id or "no-run"
        directory = Path(
            tempfile.mkdtemp(prefix=f"media-pipeline-{run_id[:8]}-", dir=self.scratch_dir)
        )
        try:
            yield SourceMedia(self.object_store, directory, max_bytes=self.max_object_bytes)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
