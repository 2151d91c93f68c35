"""The model registry: one JSON file, kept in version control and mounted where it is used.

    {"schema": 1, "current": {manifest} or null, "previous": [...], "candidates": [...]}

A manifest names the artifact in the object store and its sha256, labels, preprocessing and
thresholds. `promote` and `rollback` answer a changed registry; writing it (or opening a pull
request with it) is the caller's business.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from media_pipeline.errors import SystemicError

SCHEMA = 1
_KEPT = 10


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """`object_key`: of the model file, in the bucket for derived objects. `resize`, `crop`,
    `jpeg_round_trip`: see FrameRules. `mean`, `deviation`, `channels`: see ModelUse; means are
    of 0..255. `thresholds`: label -> {"review": from, "block": above}. `source`: where the
    weights come from and under which licence."""

    name: str
    version: str
    object_key: str
    sha256: str
    size_bytes: int
    labels: tuple[str, ...]
    mean: tuple[float, ...]
    resize: int
    crop: int
    jpeg_round_trip: bool
    thresholds: dict[str, dict[str, float]]
    source: dict[str, str] = field(default_factory=dict)
    channels: Literal["bgr", "rgb"] = "bgr"
    deviation: tuple[float, ...] = (1.0, 1.0, 1.0)

    @property
    def reference(self) -> str:
        """`name@first 12 of sha256`: how people and commands name it."""
        return f"{self.name}@{self.sha256[:12]}"

    @property
    def edition(self) -> str:
        """`name:version`: tells apart two manifests of one file, with other thresholds say."""
        return f"{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class Registry:
    """What the registry file says."""

    current: ModelManifest | None = None
    previous: tuple[ModelManifest, ...] = ()
    candidates: tuple[ModelManifest, ...] = ()

    @property
    def known(self) -> tuple[ModelManifest, ...]:
        """All of them, candidates first."""
        return (*self.candidates, *((self.current,) if self.current else ()), *self.previous)

    def find(self, reference: str) -> ModelManifest:
        """By `name`, `name:version`, `name@digest` or digest; candidates first, then the
        current one, then the latest before it. SystemicError `model_unknown` otherwise,
        `model_ambiguous` where several candidates are called so."""
        current = (self.current,) if self.current else ()
        for group in (self.candidates, current, self.previous[:1], self.previous[1:]):
            named = [
                one
                for one in group
                if reference in (one.reference, one.edition, one.name, one.sha256)
            ]
            if len(named) > 1:
                raise SystemicError(
                    f"{len(named)} models are called {reference!r}.",
                    remedy="name one of "
                    + ", ".join(f"{one.edition} or {one.reference}" for one in named)
                    + ".",
                    code="model_ambiguous",
                )
            if named:
                return named[0]
        names = ", ".join(f"{one.reference} ({one.edition})" for one in self.known) or "none"
        raise SystemicError(
            f"no model {reference!r} in the registry; there are: {names}.",
            remedy="import it with `media-pipeline models import`.",
            code="model_unknown",
        )

    def with_candidate(self, manifest: ModelManifest) -> Registry:
        """`manifest` as candidate, or as current where there is none; the same one once only."""
        if manifest in self.known:
            return self
        if self.current is None:
            return replace(self, current=manifest)
        return replace(self, candidates=(*self.candidates, manifest))

    def promoted(self, reference: str) -> Registry:
        """The named model as current; the one in use becomes the first of the previous ones."""
        chosen = self.find(reference)
        if chosen == self.current:
            return self
        old = (self.current,) if self.current else ()
        rest = tuple(one for one in self.previous if one != chosen)
        return Registry(
            chosen,
            (*old, *rest)[:_KEPT],
            tuple(one for one in self.candidates if one != chosen),
        )

    def rolled_back(self) -> Registry:
        """The model used before as current, today's as candidate; SystemicError without one."""
        if not self.previous:
            raise SystemicError(
                "there is no model to go back to.",
                remedy="promote another one with `media-pipeline models promote`.",
                code="model_unknown",
            )
        now = (self.current,) if self.current else ()
        return Registry(self.previous[0], self.previous[1:], (*now, *self.candidates))


def load_registry(path: Path | None) -> Registry:
    """The registry of a file; empty where there is no file. SystemicError `registry_broken`."""
    if path is None or not path.exists():
        return Registry()
    try:
        return _registry(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise SystemicError(
            f"the model registry {path} cannot be read: {error!r}.",
            remedy="restore it from version control, or import the model anew.",
            code="registry_broken",
        ) from error


def save_registry(path: Path, registry: Registry) -> None:
    """Replace the file in one step: a reader sees the old one or the new one."""
    document = {
        "schema": SCHEMA,
        "current": asdict(registry.current) if registry.current else None,
        "previous": [asdict(one) for one in registry.previous],
        "candidates": [asdict(one) for one in registry.candidates],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_text(json.dumps(document, indent=2) + "\n")
    partial.replace(path)


def _registry(document: dict[str, Any]) -> Registry:
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']} is not {SCHEMA}")
    return Registry(
        _manifest(document["current"]) if document["current"] else None,
        tuple(_manifest(one) for one in document["previous"]),
        tuple(_manifest(one) for one in document["candidates"]),
    )


def _manifest(fields: dict[str, Any]) -> ModelManifest:
    lists: dict[str, tuple[Any, ...]] = {
        name: tuple(fields[name]) for name in ("labels", "mean", "deviation") if name in fields
    }
    return ModelManifest(**{**fields, **lists})
