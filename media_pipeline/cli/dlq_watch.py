"""Waiting for the end of a replay, and proving what it did."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from media_pipeline.cli.dlq_source import in_pages
from media_pipeline.contracts.media_ingested import Rejected, parse_media_ingested
from media_pipeline.dead_letters.replay_proof import (
    Picture,
    ReplayProof,
    RowPicture,
    Version,
    picture,
    prove,
)
from media_pipeline.domain.dead_letters import (
    DeadLetterStore,
    Letter,
    LetterFilter,
    VersionState,
)

_PAGE = 500
_LOOK_SECONDS = 0.5


class Watch:
    """Remembers how each version stood before its message went out."""

    def __init__(
        self, ledger: DeadLetterStore, replay_id: str, allowed_buckets: Sequence[str]
    ) -> None:
        self._ledger = ledger
        self._replay_id = replay_id
        self._allowed = allowed_buckets
        self._before: dict[Version, dict[str, RowPicture]] = {}
        #: Fence that the version's next outcome must exceed; -1: any outcome will do.
        self._fences: dict[Version, int] = {}
        self._refused = 0

    def note(self, letters: Sequence[Letter]) -> None:
        """Before these are sent."""
        versions = [version for letter in letters if (version := self._version(letter))]
        known = {
            (one.asset_id, one.content_version): one for one in self._ledger.versions(versions)
        }
        for version in versions:
            state = known.get(version)
            dead = state is not None and state.status == "dead_lettered"
            self._fences[version] = state.fence if state and dead else -1
            self._before[version] = dict(
                picture(state.derivatives if state else ()).rows.get(version, {})
            )

    def wait(self, seconds: float, stopped: Callable[[float], bool]) -> tuple[ReplayProof, int]:
        """Until every version has ended or the time is over; the proof, and how many messages
        the contract refused again (those became letters of their own)."""
        deadline = time.monotonic() + seconds
        waiting = dict(self._fences)
        after: dict[Version, dict[str, RowPicture]] = {}
        repeated: set[Version] = set()
        while True:
            for page in in_pages(list(waiting), _PAGE):
                for state in self._ledger.versions(page):
                    version = (state.asset_id, state.content_version)
                    if _ended(state, waiting[version]):
                        del waiting[version]
                        seen = picture(state.derivatives)
                        after[version] = dict(seen.rows.get(version, {}))
                        repeated |= seen.repeated
            refused = self._refused_again()
            done = not waiting and refused >= self._refused
            if done or time.monotonic() > deadline or stopped(_LOOK_SECONDS):
                break
        # What has not ended keeps its rows: they are not gone.
        after.update({version: self._before[version] for version in waiting})
        proof = prove(
            self._fences, Picture(self._before), Picture(after, frozenset(repeated)),
            unfinished=waiting,
        )  # fmt: skip
        return proof, refused

    @property
    def refusals_expected(self) -> int:
        """Messages that the contract of today refuses."""
        return self._refused

    def _version(self, letter: Letter) -> Version | None:
        if letter.asset_id is not None and letter.content_version is not None:
            return letter.asset_id, letter.content_version
        assert letter.record is not None  # noqa: S101  # asked for with records
        parsed = parse_media_ingested(letter.record, allowed_buckets=self._allowed)
        if isinstance(parsed, Rejected):
            self._refused += 1
            return None
        return parsed.asset_id, parsed.content_version

    def _refused_again(self) -> int:
        """Letters of stage `contract` that this replay made."""
        if not self._refused:
            return 0
        wanted = LetterFilter(stages=("contract",), replay_id=self._replay_id)
        count, after = 0, None
        while page := self._ledger.letters(wanted, after, _PAGE):
            count += len(page)
            after = page[-1].dlq_id
        return count


def _ended(state: VersionState, fence: int) -> bool:
    """A dead-lettered version has ended anew only with a later fence."""
    return state.ended and state.fence > fence
