"""Which dead letters a replay sends, which it leaves and why, and what it sends. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from media_pipeline.domain.dead_letters import Letter
from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.ports import OutgoingEvent

#: A message that came back so often will come back again: the cause is not mended.
REPLAY_GUARD = 3
REPLAY_ID = "replay.id"
REPLAY_COUNT = "replay.count"
_OWN_HEADERS = (REPLAY_ID, REPLAY_COUNT)


@dataclass(frozen=True, slots=True)
class ReplayRules:
    """What the operator allows beyond the usual."""

    beyond_guard: bool = False
    superseded: bool = False
    again: bool = False


def reason_to_leave(letter: Letter, rules: ReplayRules) -> str | None:
    """Why this letter is not sent; None when it is."""
    if letter.state in ("replayed", "discarded") and not rules.again:
        return letter.state
    if letter.replay_count >= REPLAY_GUARD and not rules.beyond_guard:
        return "loop guard"
    if letter.superseded and not rules.superseded:
        return "superseded"
    return None


#: Reason -> what the operator may do about it.
REMEDIES = {
    "replayed": "done before; --again sends it once more",
    "discarded": "given up by somebody; --again sends it all the same",
    "loop guard": f"failed after {REPLAY_GUARD} replays: mend the cause, then --beyond-guard",
    "superseded": "a newer version is enriched; --superseded sends the old one all the same",
    "same version": "another letter of this content version is sent already",
    "done before": "stands in the journal of an earlier replay",
}


def chosen(
    letters: Iterable[Letter], rules: ReplayRules, done_before: Collection[str] = ()
) -> Iterator[tuple[Letter, str | None]]:
    """Each letter with the reason why it is left, or None; a content version goes once."""
    versions: set[tuple[str, str | None]] = set()
    for letter in letters:
        reason = "done before" if letter.dlq_id in done_before else reason_to_leave(letter, rules)
        if reason is None and letter.asset_id is not None:
            version = (letter.asset_id, letter.content_version)
            if version in versions:
                reason = "same version"
            versions.add(version)
        yield letter, reason


def replay_event(
    letter: Letter, record: MessageRecord, replay_id: str, topic: str
) -> OutgoingEvent:
    """The original record again: same key, same bytes, same headers, and which replay it is."""
    headers = [(name, value) for name, value in record.headers if name not in _OWN_HEADERS]
    return OutgoingEvent(
        event_id=f"{replay_id}/{letter.dlq_id}",
        topic=topic,
        key=record.key,
        payload=record.value,
        headers=(
            *headers,
            (REPLAY_ID, replay_id.encode()),
            (REPLAY_COUNT, str(letter.replay_count + 1).encode()),
        ),
    )
