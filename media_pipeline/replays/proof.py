"""What a replay came to: counts and duplicates, page by page from the ledger's memory of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from media_pipeline.dead_letters.replay_proof import picture, prove
from media_pipeline.domain.replays import ENDED, ReplayStore, Version

_PAGE = 500
_SHOWN = 20
_WORDS = ("new", "identical", "changed", "dead_lettered", "superseded", "unfinished")


@dataclass
class Proof:
    """Every version of the replay is in exactly one count. `rejected`: messages that became dead
    letters of the contract. `duplicates`: what must never be; the first of them are told."""

    counts: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    duplicates: int = 0
    told: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Nothing was duplicated and nothing was lost."""
        return not self.duplicates

    def document(self) -> dict[str, Any]:
        """For `--json` and for the replay's row."""
        return {
            **{word: self.counts[word] for word in _WORDS},
            "rejected": self.rejected,
            "duplicates": self.duplicates,
        }

    def summary(self) -> str:
        """One line for people."""
        said = ", ".join(f"{self.counts[word]} {word.replace('_', '-')}" for word in _WORDS)
        if self.rejected:
            said += f", {self.rejected} refused by the contract"
        if self.holds:
            return f"{said}; 0 duplicate objects, 0 duplicate rows"
        return f"{said}; {self.duplicates} DUPLICATES: {'; '.join(self.told[:5])}"


def prove_replay(store: ReplayStore, replay_id: str, rejected: int = 0) -> Proof:
    """Compare each version's rows before and now; memory holds one page."""
    proof, after = Proof(rejected=rejected), None
    while page := store.ends(replay_id, after, _PAGE):
        after = (page[-1].asset_id, page[-1].content_version)
        waiting: set[Version] = set()
        proven: list[Version] = []
        for one in page:
            version = (one.asset_id, one.content_version)
            if one.superseded and not one.ended and one.status in ENDED:
                proof.counts["superseded"] += 1
                continue
            proven.append(version)
            if not one.ended:
                waiting.add(version)
        before = picture(row for one in page for row in one.before)
        now = picture(row for one in page for row in one.now)
        found = prove(proven, before, now, unfinished=waiting)
        for word, number in found.counts().items():
            if word != "duplicates":
                proof.counts[word] += number
        proof.duplicates += len(found.duplicates)
        proof.told += found.duplicates[: _SHOWN - len(proof.told)]
        names = sorted(asset_id for asset_id, _ in found.unfinished)
        proof.unfinished += names[: _SHOWN - len(proof.unfinished)]
    return proof
