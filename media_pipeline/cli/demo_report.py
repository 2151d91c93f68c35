"""What the demo shows: a live line while messages flow, a table and samples at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from media_pipeline.cli.accounting import Census
    from media_pipeline.cli.producer import Upload
    from media_pipeline.cli.world import World
    from media_pipeline.domain.outcome import Derivative


@dataclass(frozen=True, slots=True)
class Story:
    """Two moments and what lies between them."""

    before: Census
    after: Census
    messages: int
    known: int
    seconds: float
    dagster_url: str


@contextmanager
def progress_line(
    console: Console, messages: int
) -> Iterator[Callable[[Census, Census, Mapping[str, int]], None]]:
    """Yields `show(before, now, run statuses)`; one bar that counts finished messages."""
    if not console.is_terminal:
        # Logs of a build: a line per change instead of a bar that nobody sees move.
        said = [""]

        def say(before: Census, now: Census, runs: Mapping[str, int]) -> None:
            line = _state(before, now, runs)
            if line != said[0]:
                said[0] = line
                console.print(line, highlight=False)

        yield say
        return
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}"),
        console=console,
    )
    with progress:
        task = progress.add_task("enriching", total=messages, state="")

        def show(before: Census, now: Census, runs: Mapping[str, int]) -> None:
            ended = now.accounted - before.accounted
            progress.update(task, completed=ended, state=_state(before, now, runs))

        yield show


def _state(before: Census, now: Census, runs: Mapping[str, int]) -> str:
    running = ", ".join(f"{count} {status.lower()}" for status, count in sorted(runs.items()))
    return (
        f"{now.accounted - before.accounted} done, {now.unfinished} in work, {now.lag} unread,"
        f" {now.unpublished} to publish; runs: {running or 'none'}"
    )


def report(console: Console, story: Story, shown: Mapping[str, str], wrong: Sequence[str]) -> None:
    """The table of the demo, then where to look; `wrong` lines last, in red."""
    before, after = story.before, story.after
    table = Table(title="Every message accounted for" if not wrong else "Not accounted for")
    table.add_column("")
    table.add_column("this run", justify="right")
    table.add_column("in all", justify="right")
    ended = after.accounted - before.accounted
    rows = [
        ("messages ingested", story.messages, after.messages),
        ("enriched, complete", after.complete - before.complete, after.complete),
        ("enriched, partial", after.partial - before.partial, after.partial),
        ("dead-lettered", after.dead_lettered - before.dead_lettered, after.dead_lettered),
        ("recognised as already seen", story.messages - ended, after.messages - after.accounted),
        (
            "enriched events published",
            after.enriched_events - before.enriched_events,
            after.enriched_events,
        ),
        ("objects stored", after.objects - before.objects, after.objects),
    ]
    for name, now, total in rows:
        table.add_row(name, str(now), str(total))
    table.add_row("seconds", f"{story.seconds:.1f}", "")
    table.add_row("media assets/s", f"{ended / story.seconds:.1f}" if ended else "-", "")
    console.print(table)
    if story.known:
        console.print(
            f"{story.known} of these media assets were enriched before: recognised by content,"
            f" nothing was duplicated ({after.objects - before.objects} new objects,"
            f" {after.enriched_events - before.enriched_events} new events)."
        )
    console.print(f"Dagster UI: {story.dagster_url}")
    for name, text in shown.items():
        # Addresses must stay whole to be of use.
        console.print(f"[bold]{name}[/bold] {escape(text)}", highlight=False, soft_wrap=True)
    for line in wrong:
        console.print(f"[red]wrong:[/red] {escape(line)}")


def samples(world: World, uploads: Sequence[Upload]) -> dict[str, str]:
    """One object, one row, one event and one dead letter, as an operator would meet them."""
    shown: dict[str, str] = {}
    rows = world.metadata_store.derivatives([one.asset.asset_id for one in uploads[:50]])
    row = next((row for row in rows if row.artifacts and row.kind == "moderation"), None)
    shown |= _recognised(world, rows)
    if row:
        shown["sample object"] = world.object_store.link(row.artifacts[-1].object_key)
        summary = {
            "asset_id": row.asset_id,
            "kind": row.kind,
            "outcome": str(row.code),
            "fingerprint": row.fingerprint,
            "attributes": dict(row.attributes),
        }
        shown["sample row"] = _short(json.dumps(summary))
    kafka = world.settings.kafka
    for name, topic in (
        ("sample event", kafka.enriched_topic),
        ("sample dead letter", kafka.dead_letter_topic),
    ):
        poll = world.event_source.poll(topic, {}, max_records=1, deadline_seconds=5)
        for record in poll.records[:1]:
            headers = {key: value.decode() for key, value in record.headers}
            reason = headers.get("error.message")
            value = (record.value or b"").decode(errors="replace")
            shown[name] = f"{record.coordinates} {_short(reason or value)}"
    return shown


def _recognised(world: World, rows: Sequence[Derivative]) -> dict[str, str]:
    """What OCR read off the page with the most words."""
    read = [row for row in rows if row.artifacts and row.kind == "ocr"]
    if not read:
        return {}
    row = max(read, key=lambda one: int(str(one.attributes.get("words", 0))))
    text = world.object_store.get(row.artifacts[-1].object_key).decode()
    sure = f"({row.attributes.get('confidence')}% sure)"
    return {f"text of {row.asset_id}": f"{sure} {_short(' '.join(text.split()), 120)}"}


def _short(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else f"{text[:limit]} ..."
