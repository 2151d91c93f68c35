"""`media-pipeline demo`: the main job on the embedded stack, watched and accounted for."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from media_pipeline.cli.accounting import Census, faults
from media_pipeline.cli.demo_report import Story, progress_line, report, samples

if TYPE_CHECKING:
    from media_pipeline.cli.dagster_api import DagsterApi
    from media_pipeline.cli.producer import Upload
    from media_pipeline.cli.world import World

#: Two messages that no contract accepts: cut off in the middle, and another version.
INVALID_MESSAGES = (
    b'{"event_id": "demo-truncated", "asset_id": "demo-trunc',
    b'{"type": "media.ingested.v9", "event_id": "demo-v9", "asset_id": "demo-v9"}',
)
SENSOR = "media_events_sensor"
#: Long enough for a slow, shared machine: a demo that gives up says what is missing.
SETTLE_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Produced:
    """What the demo put into the topic, and how much of it the ledger already knew."""

    uploads: list[Upload]
    messages: int
    known: int

    @property
    def new(self) -> int:
        """Messages that must get an end of their own: no redelivery, nothing known."""
        return len(self.uploads) - self.known + len(INVALID_MESSAGES)


def register(app: typer.Typer) -> None:
    """Add `demo` to the command line."""
    app.command()(demo)


def demo(
    count: Annotated[int, typer.Option(help="Media assets to make up.")] = 200,
    seed: Annotated[int, typer.Option(help="Same seed, same files.")] = 1,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")
    ] = False,
    data_dir: Annotated[Path, typer.Option(help="Where the embedded stack keeps data.")] = Path(
        ".local"
    ),
    port: Annotated[int, typer.Option(help="Port of the Dagster UI; 0 = any free one.")] = 0,
) -> None:
    """Start real servers, ingest made-up media, enrich them and account for every message."""
    from media_pipeline.cli.dagster_process import running_dagster  # quick --help
    from media_pipeline.cli.world import World
    from media_pipeline.local_stack.ports import free_port
    from media_pipeline.local_stack.stack import embedded_stack

    console = Console()
    # TERM ends the demo the way Ctrl-C does: servers stop, data stays.
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with embedded_stack(
        data_dir, on_event=lambda text: console.print(f"[dim]{text}[/dim]")
    ) as stack:
        settings = stack.settings()
        world = World(settings)
        with running_dagster(stack, port or free_port()) as dagster:
            console.print(f"Dagster UI: [link={dagster.url}]{dagster.url}[/link]")
            before = _census(world, dagster)
            produced = _produce(world, count, seed, console)
            expected = before.accounted + produced.new
            started = time.monotonic()
            after = _watch(world, dagster, before, produced, console)
            seconds = time.monotonic() - started
            wrong = faults(after, expected)
            story = Story(before, after, produced.messages, produced.known, seconds, dagster.url)
            report(console, story, samples(world, produced.uploads), wrong)
            if keep and not wrong:
                _wait(console, dagster)
    raise typer.Exit(1 if wrong else 0)


def _produce(world: World, count: int, seed: int, console: Console) -> Produced:
    """Upload made-up media and announce them; one message is delivered twice."""
    from media_pipeline.cli.producer import announce, upload
    from media_pipeline.domain.ports import OutgoingEvent
    from media_pipeline.local_stack.sample_media import generate  # Pillow, PyMuPDF

    with console.status(f"making and uploading {count} media assets"):
        with ThreadPoolExecutor(4, "upload") as threads:
            uploads = list(
                threads.map(
                    lambda sample: upload(
                        world, sample.asset_id, sample.filename, sample.data, sample.content_type
                    ),
                    generate(count, seed),
                )
            )
        rows = world.metadata_store.derivatives([one.asset.asset_id for one in uploads])
        versions = {(row.asset_id, row.content_version) for row in rows}
        known = sum((one.asset.asset_id, one.asset.content_version) in versions for one in uploads)
        topic = world.settings.kafka.ingested_topic
        invalid = [
            OutgoingEvent(f"demo-invalid-{seed}-{number}", topic, b"", payload)
            for number, payload in enumerate(INVALID_MESSAGES)
        ]
        announce(world, uploads)
        announce(world, uploads[:1])  # a redelivery: recognised, never processed twice
        world.event_sink.publish(invalid)
    messages = len(uploads) + 1 + len(invalid)
    console.print(
        f"Produced {messages} messages: {len(uploads)} media assets,"
        f" 1 of them announced twice, {len(invalid)} invalid messages."
    )
    return Produced(uploads, messages, known)


def _positions(dagster: DagsterApi) -> dict[int, int]:
    from sensors.cursor import SensorCursor  # quick --help

    raw = dagster.sensor_cursor(SENSOR)
    topics = SensorCursor.loads(raw).positions if raw else {}
    return {
        partition: offset
        for positions in topics.values()
        for partition, offset in positions.items()
    }


def _census(world: World, dagster: DagsterApi) -> Census:
    return world.census(_positions(dagster))


def _watch(
    world: World, dagster: DagsterApi, before: Census, produced: Produced, console: Console
) -> Census:
    """Show progress until everything is settled or the time is up."""
    deadline = time.monotonic() + SETTLE_SECONDS
    expected = before.messages + produced.messages
    with progress_line(console, produced.messages) as show:
        while True:
            census = _census(world, dagster)
            show(before, census, dagster.run_statuses())
            if census.messages >= expected and census.settled(before.accounted + produced.new):
                return census
            if time.monotonic() > deadline:
                return census
            time.sleep(0.5)


def _wait(console: Console, dagster: DagsterApi) -> None:
    console.print(
        f"Everything keeps running: Dagster UI at {dagster.url}. In another shell:"
        ' eval "$(.venv/bin/media-pipeline env)". Ctrl-C stops it; the data stays.'
    )
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("Stopping; the data stays.")
