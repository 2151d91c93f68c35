"""The media sensor's cursor: the truth for offsets, as JSON that people can read and edit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import dagster as dg

from media_pipeline.errors import SystemicError

#: Whose cursor it is.
MEDIA_EVENTS_SENSOR = "media_events_sensor"


@dataclass(frozen=True, slots=True)
class SensorCursor:
    """`positions`: topic -> Kafka partition -> next offset to read."""

    positions: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    @classmethod
    def loads(cls, text: str | None) -> SensorCursor:
        """Read a persisted cursor; SystemicError when somebody edited it into nonsense."""
        if not text:
            return cls()
        try:
            topics = json.loads(text)["positions"]
            positions = {
                str(topic): {int(partition): _offset(value) for partition, value in one.items()}
                for topic, one in topics.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SystemicError(
                f"the sensor's cursor cannot be read ({error!r}): {text[:200]}",
                remedy='set it to {"positions": {"<topic>": {"<partition>": <next offset>}}}, or'
                " clear it to read from the beginning: the ledger recognises what is done.",
                code="cursor_broken",
            ) from error
        return cls(positions)

    def dumps(self) -> str:
        """The inverse of `loads`, keys sorted."""
        topics = {
            topic: {str(partition): offset for partition, offset in sorted(one.items())}
            for topic, one in sorted(self.positions.items())
        }
        return json.dumps({"positions": topics}, separators=(",", ":"))

    def of(self, topic: str) -> Mapping[int, int]:
        """Positions of one topic; empty before its first message was read."""
        return self.positions.get(topic, {})

    def moved(self, topic: str, positions: Mapping[int, int]) -> SensorCursor:
        """A cursor with other positions for one topic."""
        return SensorCursor({**self.positions, topic: dict(positions)})


def media_positions(instance: dg.DagsterInstance, topic: str) -> Mapping[int, int]:
    """Where the media sensor stands in a topic; nowhere before its first tick."""
    for state in instance.all_instigator_state():
        if state.instigator_name == MEDIA_EVENTS_SENSOR:
            return SensorCursor.loads(getattr(state.instigator_data, "cursor", None)).of(topic)
    return {}


def _offset(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no offset")
    return value
