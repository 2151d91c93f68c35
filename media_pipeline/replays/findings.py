"""What does not fit together, by kind, each with what puts it right. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

#: What `reconcile --fix` does: run the media asset again, take the message again, or nothing.
Fix = Literal["asset", "message"] | None

#: Kind -> (what it means, what to do).
KINDS: dict[str, tuple[str, str]] = {
    "gap": (
        "a message behind the sensor's cursor that the ledger has never taken",
        "media-pipeline reconcile --fix, or media-pipeline replay --from-offset",
    ),
    "missing_object": (
        "a derivative row whose object is gone",
        "media-pipeline reconcile --fix makes it again; find out who deletes in the derived bucket",
    ),
    "orphan_object": (
        "an object that no derivative row was made with",
        "none by replay, and no harm: a retry of its media asset adopts it, else it may be deleted",
    ),
    "overdue_event": (
        "an event that waits in the outbox too long",
        "look at outbox_relay_sensor and the brokers: it is published as soon as they work",
    ),
    "stalled": (
        "an unfinished media asset that nobody is at",
        "media-pipeline reconcile --fix; if many: do runs fail, is the pipeline paused?",
    ),
    "unmaterialized": (
        "enriched in the ledger, without a materialization in Dagster",
        "media-pipeline reconcile --fix",
    ),
    "unrecorded": (
        "materialized in Dagster, and the ledger has no outcome of it",
        "media-pipeline reconcile --fix, for what the ledger knows; was one of the two restored?",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit. `subject`: a media asset, an object key, an event id, or
    coordinates of a message."""

    kind: str
    subject: str
    detail: str
    fix: Fix = None
    asset_id: str | None = None
    partition: int | None = None
    offset: int | None = None


@dataclass
class Findings:
    """All are counted, the first `keep` are kept. `compared`: how many of what were looked at."""

    keep: int = 5000
    counts: Counter[str] = field(default_factory=Counter)
    kept: list[Finding] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        self.counts[finding.kind] += 1
        if len(self.kept) < self.keep:
            self.kept.append(finding)

    @property
    def clean(self) -> bool:
        return not self.counts

    @property
    def cut(self) -> bool:
        """Whether there are more than are kept."""
        return sum(self.counts.values()) > len(self.kept)

    def assets(self) -> list[str]:
        """Media assets that running again puts right."""
        return sorted({one.asset_id for one in self.kept if one.fix == "asset" and one.asset_id})

    def messages(self) -> list[tuple[int, int]]:
        """(Kafka partition, offset) of the messages to take again."""
        return sorted(
            (one.partition, one.offset)
            for one in self.kept
            if one.fix == "message" and one.partition is not None and one.offset is not None
        )

    def lines(self) -> list[str]:
        """For people: a line per kind, with what to do."""
        return [
            f"{number} {kind}: {KINDS[kind][0]}. Remedy: {KINDS[kind][1]}."
            for kind, number in self.counts.most_common()
        ]

    def document(self) -> dict[str, Any]:
        """JSON-serializable."""
        return {
            "clean": self.clean,
            "compared": dict(self.compared),
            "counts": dict(self.counts),
            "remedies": {kind: KINDS[kind][1] for kind in self.counts},
            "findings": [
                {name: getattr(one, name) for name in ("kind", "subject", "detail", "fix")}
                for one in self.kept
            ],
            "cut": self.cut,
        }
