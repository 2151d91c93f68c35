"""What an operator sees on a materialization: of one key, and of the whole batch."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import dagster as dg

from media_pipeline.domain.outcome import Derivative, Derivatives

#: Attributes worth a column in the UI; the rest stays in the ledger.
_SHOWN = (
    "verdict", "scores", "pages", "words", "characters", "confidence", "language", "languages",
    "width", "height", "frames", "media_type", "declared_type", "truncated", "model", "device",
    "dtype",
)  # fmt: skip


def key_metadata(
    row: Derivative, preview: bytes | None, link: Callable[[str], str]
) -> dict[str, dg.MetadataValue]:
    """Metadata of one key: outcome, sizes, links to objects and a small inline picture."""
    metadata: dict[str, dg.MetadataValue] = {}
    if preview:
        picture = base64.b64encode(preview).decode()
        metadata["preview"] = dg.MetadataValue.md(f"![preview](data:image/webp;base64,{picture})")
    metadata |= {
        "outcome": dg.MetadataValue.text(str(row.code)),
        "seconds": dg.MetadataValue.float(round(row.seconds, 4)),
        "input_bytes": dg.MetadataValue.int(row.input_bytes),
        "stored_bytes": dg.MetadataValue.int(sum(part.size_bytes for part in row.artifacts)),
        "content_digest": dg.MetadataValue.text(row.input_digest or ""),
        "fingerprint": dg.MetadataValue.text(row.fingerprint),
    }
    if row.message:
        metadata["reason"] = dg.MetadataValue.text(row.message)
    for name in _SHOWN:
        value = row.attributes.get(name)
        if value is not None:
            metadata[name] = _plain(value)
    if row.artifacts:
        # By name: an address holds two digests and would be cut off where one looks.
        links = (
            f"[{artifact.name}](<{link(artifact.object_key)}>) {artifact.size_bytes:,} bytes"
            for artifact in row.artifacts
        )
        metadata["objects"] = dg.MetadataValue.md("  \n".join(links))
    return metadata


def batch_metadata(
    rows: Derivatives, *, elapsed_seconds: float, upload_seconds: float
) -> dict[str, dg.MetadataValue]:
    """Metadata that every materialization of the batch shares: counts, sizes, seconds."""
    return {
        "batch_keys": dg.MetadataValue.int(len(rows)),
        "batch_outcomes": dg.MetadataValue.json(_counts(rows.values())),
        "batch_seconds": dg.MetadataValue.float(round(elapsed_seconds, 3)),
        "batch_processing_seconds": dg.MetadataValue.float(
            round(sum((row.seconds for row in rows.values()), 0.0), 3)
        ),
        "batch_upload_seconds": dg.MetadataValue.float(round(upload_seconds, 3)),
    }


def _counts(rows: Iterable[Derivative]) -> Mapping[str, int]:
    return dict(sorted(Counter(str(row.code) for row in rows).items()))


def _plain(value: object) -> dg.MetadataValue:
    if isinstance(value, bool):
        return dg.MetadataValue.bool(value)
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    if isinstance(value, float):
        return dg.MetadataValue.float(value)
    if isinstance(value, Mapping):
        return dg.MetadataValue.json(dict(value))
    return dg.MetadataValue.text(str(value))
