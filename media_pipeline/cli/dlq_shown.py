"""Dead letters on a terminal: whatever strangers wrote must not write on it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from media_pipeline.dead_letters.grouping import Group, error_fingerprint
from media_pipeline.domain.dead_letters import HistoryEntry, Letter, VersionState

_SHOWN_BYTES = 4096
_HEX_BYTES = 256
_HEX_WIDTH = 16


def print_groups(console: Console, groups: Sequence[Group]) -> None:
    """A block per cause; ids stand alone on their lines, whatever the width, to be copied."""
    if not groups:
        console.print("no dead letters")
        return
    total = sum(group.count for group in groups)
    say(console, f"{_many(total, 'dead letter')}, {_many(len(groups), 'cause')}")
    for group in groups:
        states = ", ".join(f"{number} {state}" for state, number in sorted(group.states.items()))
        say(console, f"\nfingerprint {group.fingerprint}: {states}; {group.stage} / {group.code}")
        say(console, f"  first {group.first_seen}, last {group.last_seen}")
        say(console, f"  for example: {group.example[:300]}")
        for dlq_id in group.samples:
            say(console, f"  {dlq_id}")
        if group.count > len(group.samples):
            say(console, f"  ... and {group.count - len(group.samples)} more")


def say(console: Console, text: str) -> None:
    """One line as it is: no markup, no wrapping, no control characters."""
    console.print(Text(printable(text)), soft_wrap=True)


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def print_letter(
    console: Console,
    letter: Letter,
    history: Sequence[HistoryEntry],
    versions: Sequence[VersionState],
) -> None:
    """Reason, history, original record, and how the media asset stands now."""
    say(console, f"dead letter {letter.dlq_id}")
    say(console, f"  fingerprint {error_fingerprint(letter)}, state {letter.state}")
    say(console, f"  {letter.stage} / {letter.code} ({letter.error_class}): {letter.message}")
    say(console, f"  media asset {letter.asset_id or '-'} {letter.content_version or ''}")
    say(
        console,
        f"  attempts {letter.attempts}, replays {letter.replay_count}, run {letter.run_id or '-'}",
    )
    say(console, f"  failed first {letter.first_failed_at}, last {letter.last_failed_at}")
    if letter.superseded:
        say(console, "  superseded: a newer content version is enriched")
    for version in versions:
        ends = ", ".join(f"{row.kind} {row.code}" for row in version.derivatives)
        say(console, f"in the ledger: {version.status}; {ends or 'no rows'}")
    if history:
        say(console, "history")
    for entry in history:
        by = f" by {entry.who}@{entry.host}" if entry.who else ""
        why = f": {entry.reason}" if entry.reason else ""
        run = f" in run {entry.run_id}" if entry.run_id else ""
        say(console, f"  {entry.at} {entry.what} -> {entry.state}{by}{run}{why}")
    if letter.record is not None:
        record = letter.record
        say(console, f"original record {record.coordinates}, timestamp {record.timestamp_ms} ms")
        say(console, f"  key {shown_bytes(record.key)}")
        for name, value in record.headers:
            say(console, f"  header {name} = {shown_bytes(value)}")
        say(console, f"  value, {letter.record_bytes} bytes:")
        say(console, shown_bytes(record.value))


def shown_bytes(data: bytes | None) -> str:
    """Text where it is text, else a hex dump; cut where it is long, and it says so."""
    if data is None:
        return "none"
    try:
        text = data[:_SHOWN_BYTES].decode(
            "utf-8", "strict" if len(data) <= _SHOWN_BYTES else "replace"
        )
    except UnicodeDecodeError:
        return _hex(data)
    if "\x00" in text:
        return _hex(data)
    left = len(data) - _SHOWN_BYTES
    return text + (f"\n... {left} more bytes; `dlq export` has them" if left > 0 else "")


def printable(text: str) -> str:
    """Control characters, direction marks and half surrogates as escapes; line breaks stay."""
    return "".join(
        letter
        if letter == "\n" or letter.isprintable()
        else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in text
    )


def _hex(data: bytes) -> str:
    lines = []
    for start in range(0, min(len(data), _HEX_BYTES), _HEX_WIDTH):
        row = data[start : start + _HEX_WIDTH]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)  # noqa: PLR2004  # ASCII
        lines.append(f"{start:08x}  {row.hex(' '):<47}  {text}")
    left = len(data) - _HEX_BYTES
    return "\n".join(lines) + (f"\n... {left} more bytes" if left > 0 else "")
