"""Deterministic names: fingerprints, object keys and event ids.

The same input and the same processor always give the same names, which is what
makes every write repeatable: a replay overwrites an object with itself and an
event id with itself.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping

#: Namespace of all UUIDv5 made here (fixed for ever: ids must not move between releases).
NAMESPACE = uuid.UUID("6f1c2f4e-6f0b-5d0c-9a54-0f6f5b1c7a11")


def fingerprint(processor: str, version: str, inputs: Mapping[str, object]) -> str:
    """`<processor>-<version>-<12 hex>` over settings, library versions and model digest.

    `inputs` must be JSON-serializable; key order does not matter.
    """
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return f"{processor}-{version}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"


def derived_object_key(kind: str, input_digest: str, fingerprint_: str, name: str) -> str:
    """Content-addressed: same input bytes and same processor, same object."""
    return f"derived/{kind}/{input_digest}/{fingerprint_}/{name}"


def data_version(input_digest: str | None, fingerprint_: str) -> str:
    """Dagster's data version of one derivative: equal bytes, equal processor, equal version."""
    return f"{(input_digest or 'none')[:16]}.{fingerprint_}"


def enriched_event_id(asset_id: str, version: str, fingerprints: Mapping[str, str]) -> str:
    """Same media asset, content version and processor versions: same event."""
    parts = "\n".join(f"{kind}={fp}" for kind, fp in sorted(fingerprints.items()))
    return str(uuid.uuid5(NAMESPACE, f"enriched\n{asset_id}\n{version}\n{parts}"))


def dead_letter_id(asset_or_coordinates: str, version: str, stage: str, code: str) -> str:
    """Same failure of the same thing: same dead letter, however often it is met."""
    return str(
        uuid.uuid5(NAMESPACE, f"dead-letter\n{asset_or_coordinates}\n{version}\n{stage}\n{code}")
    )


def batch_digest(keys: list[str] | tuple[str, ...]) -> str:
    """16 hex over the ordered partition keys of a batch; a run refuses other keys."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]


def share_of(name: bytes) -> int:
    """0..99, evenly and for ever the same, so that a larger share contains every smaller one."""
    return int.from_bytes(hashlib.sha256(name).digest()[:8]) % 100


def in_share(name: str, share: int) -> bool:
    """Whether `name` belongs to the first `share` of the 100 shares."""
    return share_of(name.encode()) < share
