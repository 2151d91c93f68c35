"""Media assets as pages, from the ledger and the store: for a command and for a web server.

`serve` is a function from a path to a page, so that whoever has a server can mount it; it reads
and never writes.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

from media_pipeline.domain.media_asset import ASSET_ID_PATTERN
from media_pipeline.domain.operations import OperationsLedger
from media_pipeline.domain.outcome import Derivative, StoredArtifact
from media_pipeline.domain.ports import MetadataStore, ObjectStore
from media_pipeline.errors import MediaPipelineError
from media_pipeline.reports.asset_page import (
    AssetFile,
    Picture,
    asset_page,
    list_page,
    unknown_page,
)

Answer = TypeVar("Answer")

PREFIX = "/media"
_LISTED = 100
_MAX_OBJECT = 8 * 1024 * 1024
_MAX_UNPACKED = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Gallery:
    """Reads what pages show; `dagster_url` is for links to runs."""

    ledger: MetadataStore
    operations: OperationsLedger
    object_store: ObjectStore
    dagster_url: str

    def serve(self, path: str) -> tuple[int, str] | None:
        """(HTTP status, HTML) of `/media` and `/media/<asset id>`; None for any other path."""
        path = unquote(path.split("?", 1)[0]).rstrip("/")
        if path == PREFIX:
            return 200, list_page(self.operations.ended_lately(_LISTED))
        if not path.startswith(f"{PREFIX}/"):
            return None
        asset_id = path.removeprefix(f"{PREFIX}/")
        document = self.page(asset_id) if ASSET_ID_PATTERN.fullmatch(asset_id) else None
        return (200, document) if document else (404, unknown_page(asset_id))

    def page(self, asset_id: str, *, show_pictures: bool = False) -> str | None:
        """The page of a media asset; None when the ledger does not know it."""
        file = self.file(asset_id)
        return None if file is None else asset_page(file, show_pictures=show_pictures)

    def file(self, asset_id: str) -> AssetFile | None:
        """Everything about it. Objects that cannot be read are named, not fallen over."""
        versions = self.operations.asset_file(asset_id)
        if not versions:
            return None
        rows = self.ledger.derivatives([asset_id])
        problems: list[str] = []
        parts = [part for row in rows for part in row.artifacts]

        def read(part: StoredArtifact, use: Callable[[bytes], Answer], empty: Answer) -> Answer:
            if part.size_bytes > _MAX_OBJECT:
                problems.append(f"{part.object_key} is too large to be shown.")
                return empty
            try:
                return use(self.object_store.get(part.object_key))
            except MediaPipelineError as error:
                problems.append(f"{part.object_key}: {error}")
            except (ValueError, OSError, EOFError, zlib.error) as error:
                problems.append(f"{part.object_key} cannot be read: {type(error).__name__}.")
            return empty

        thumbnails = [
            found
            for part in _parts(rows, "thumbnails", "")
            if (found := read(part, _picture(part), None)) is not None
        ]
        texts = [read(part, _decoded, "") for part in _parts(rows, "text", ".txt")[:1]]
        read_pages = [read(part, _document, None) for part in _parts(rows, "ocr", ".json.gz")[:1]]
        return AssetFile(
            versions=versions,
            derivatives=rows,
            links={part.object_key: self.object_store.link(part.object_key) for part in parts},
            dagster_url=self.dagster_url.rstrip("/"),
            thumbnails=thumbnails,
            text=next(iter(texts), ""),
            ocr=next(iter(read_pages), None),
            problems=problems,
        )


def _parts(rows: Sequence[Derivative], kind: str, suffix: str) -> list[StoredArtifact]:
    return [
        part
        for row in rows
        if row.kind == kind
        for part in row.artifacts
        if part.name.endswith(suffix)
    ]


def _picture(part: StoredArtifact) -> Callable[[bytes], Picture | None]:
    return lambda data: Picture(part.name, part.content_type, data)


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _document(data: bytes) -> Mapping[str, Any] | None:
    import io

    with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        document = json.loads(packed.read(_MAX_UNPACKED))
    return document if isinstance(document, dict) else None
