"""Dead letters on a terminal: whatever strangers wrote must not write on it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from media_pipeline.dead_letters.grouping import Group, error_fingerprint
from media_pipeline.domain.dead_letters import HistoryEntry, Letter, VersionState

_SHOWN_BYTES = 4096
_HEX_BYTES = 256
_HEX_WIDTH = 16


def print_groups(console: Console, groups: Sequence[Group]) -> None:
    """One line per cause."""
    if not groups:
        console.print("no dead letters")
        return
    total = sum(group.count for group in groups)
    table = Table(title=f"{total} dead letters, {len(groups)} causes")
    for column in ("fingerprint", "count", "stage / code", "example", "first / last seen", "ids"):
        table.add_column(column, overflow="fold")
    for group in groups:
        table.add_row(
            group.fingerprint,
            "\n".join(f"{number} {state}" for state, number in sorted(group.states.items())),
            Text(printable(f"{group.stage}\n{group.code}")),
            Text(printable(group.example[:300])),
            f"{group.first_seen}\n{group.last_seen}",
            "\n".join(group.samples),
        )
    console.print(table)


def print_letter(
    console: Console,
    letter: Letter,
    history: Sequence[HistoryEntry],
    versions: Sequence[VersionState],
) -> None:
    """Reason, history, original record, and how the media asset stands now."""

    def say(text: str) -> None:
        console.print(Text(printable(text)), soft_wrap=True)

    say(f"dead letter {letter.dlq_id}")
    say(f"  fingerprint {error_fingerprint(letter)}, state {letter.state}")
    say(f"  {letter.stage} / {letter.code} ({letter.error_class}): {letter.message}")
    say(f"  media asset {letter.asset_id or '-'} {letter.content_version or ''}")
    say(f"  attempts {letter.attempts}, replays {letter.replay_count}, run {letter.run_id or '-'}")
    say(f"  failed first {letter.first_failed_at}, last {letter.last_failed_at}")
    if letter.superseded:
        say("  superseded: a newer content version is enriched")
    for version in versions:
        ends = ", ".join(f"{row.kind} {row.code}" for row in version.derivatives)
        say(f"in the ledger: {version.status}; {ends or 'no rows'}")
    if history:
        say("history")
    for entry in history:
        by = f" by {entry.who}@{entry.host}" if entry.who else ""
        why = f": {entry.reason}" if entry.reason else ""
        run = f" in run {entry.run_id}" if entry.run_id else ""
        say(f"  {entry.at} {entry.what} -> {entry.state}{by}{run}{why}")
    if letter.record is not None:
        record = letter.record
        say(f"original record {record.coordinates}, timestamp {record.timestamp_ms} ms")
        say(f"  key {shown_bytes(record.key)}")
        for name, value in record.headers:
            say(f"  header {name} = {shown_bytes(value)}")
        say(f"  value, {letter.record_bytes} bytes:")
        say(shown_bytes(record.value))


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
