"""Derivatives as JSON: the form kept in batch manifests (schema 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from media_pipeline.domain.outcome import Code, Derivative, StoredArtifact


def derivative_to_json(row: Derivative) -> dict[str, Any]:
    """A JSON-serializable mapping that `derivative_from_json` reads back as an equal value."""
    return {**asdict(row), "code": str(row.code), "attributes": dict(row.attributes)}


def derivative_from_json(row: Mapping[str, Any]) -> Derivative:
    """The inverse of `derivative_to_json`; KeyError or ValueError on a foreign document."""
    return Derivative(
        **{
            **row,
            "code": Code(row["code"]),
            "artifacts": tuple(StoredArtifact(**artifact) for artifact in row["artifacts"]),
        }
    )
