"""Is every message accounted for? Pure arithmetic over counts, used by the demo and its test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Census:
    """Everything that was counted at one moment, from the ledger, the topics and the store."""

    messages: int  # records in media.ingested.v1
    by_status: Mapping[str, int]  # content versions in the ledger
    rejected: int  # invalid messages in the ledger
    enriched_events: int  # records in media.asset_enriched.v1
    dead_letters: int  # records in media.processing.dlq
    objects: int  # keys in the derived bucket, manifests left out
    unpublished: int  # outbox rows
    lag: int  # messages the sensor has not read

    @property
    def complete(self) -> int:
        return self.by_status.get("complete", 0)

    @property
    def partial(self) -> int:
        return self.by_status.get("partial", 0)

    @property
    def dead_lettered(self) -> int:
        return self.by_status.get("dead_lettered", 0) + self.rejected

    @property
    def unfinished(self) -> int:
        done = ("complete", "partial", "dead_lettered")
        return sum(count for status, count in self.by_status.items() if status not in done)

    @property
    def accounted(self) -> int:
        """Messages with an end of their own; redelivered ones share the end of the first."""
        return self.complete + self.partial + self.dead_lettered

    def settled(self, distinct_messages: int) -> bool:
        """Nothing is under way any more and every distinct message has its end."""
        return (
            self.lag == 0
            and self.unfinished == 0
            and self.unpublished == 0
            and self.accounted >= distinct_messages
        )


def faults(census: Census, distinct_messages: int) -> list[str]:
    """What is wrong, in words; empty when every message is accounted for exactly once."""
    wrong = []
    if census.lag:
        wrong.append(f"{census.lag} messages were not read")
    if census.unfinished:
        wrong.append(f"{census.unfinished} media assets are unfinished")
    if census.unpublished:
        wrong.append(f"{census.unpublished} events were not published")
    if census.accounted != distinct_messages:
        wrong.append(f"{distinct_messages} distinct messages, {census.accounted} accounted for")
    enriched = census.complete + census.partial
    if census.enriched_events != enriched:
        wrong.append(f"{enriched} enriched media assets, {census.enriched_events} events")
    if census.dead_letters != census.dead_lettered:
        wrong.append(f"{census.dead_lettered} dead letters, {census.dead_letters} in the topic")
    return wrong
