"""`relay`: the outbox relay as a process of its own, instead of the sensor."""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from media_pipeline.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensors.outbox_relay import Relayed

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_LEAST_LINGER_SECONDS = 1.0

Heartbeat = Annotated[
    Path | None,
    typer.Option(help="File touched after every look at the outbox; for liveness probes."),
]


def register(app: typer.Typer) -> None:
    """Add `relay` to the command line."""
    app.command()(relay)


def relay(
    heartbeat_file: Heartbeat = None,
    once: Annotated[bool, typer.Option("--once", help="Until the outbox is empty.")] = False,
) -> None:
    """Publish the ledger's outbox until SIGTERM; a chunk that is under way is finished.

    MEDIA_PIPELINE_BATCH__OUTBOX_RELAY=process takes the sensor out, so that one of them works.
    """
    from media_pipeline.cli.world import World  # quick --help
    from media_pipeline.settings import load_settings
    from media_pipeline.telemetry.logs import configure_logs
    from media_pipeline.telemetry.traces import tracing
    from resources.build import build_outbox_sink
    from sensors.outbox_relay import relay as publish

    configure_logs()
    settings = load_settings()
    metadata_store, sink = World(settings).metadata_store, build_outbox_sink(settings)
    stop = threading.Event()

    def round_of(linger_seconds: float) -> Relayed:
        with tracing(settings.telemetry, ""):
            return publish(
                metadata_store,
                sink,
                chunk=settings.ledger.page_rows,
                deadline_seconds=settings.batch.tick_deadline_seconds,
                linger_seconds=linger_seconds,
                wait=stop.wait,
                stopped=stop.is_set,
            )

    if once:
        while (done := round_of(0.0)).more:
            print(f"published {done.events} events, more are waiting")
        print(f"published {done.events} events")
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # Never without a pause: a round that does not linger would ask again at once, for ever.
    linger = max(settings.batch.relay_linger_seconds, _LEAST_LINGER_SECONDS)
    run_until(stop, lambda: round_of(linger), heartbeat_file)


def run_until(
    stop: threading.Event, round_of: Callable[[], Relayed], heartbeat_file: Path | None
) -> int:
    """Rounds until `stop`; answers how many events went out.

    A transient error pauses, longer each time and without a heartbeat, so that an outage that
    lasts restarts the process; a systemic one leaves at once.
    """
    import structlog  # quick --help

    log = structlog.get_logger("media_pipeline.relay")
    pause, events = _FIRST_PAUSE_SECONDS, 0
    log.info("relay_started")
    while not stop.is_set():
        try:
            done = round_of()
        except TransientError as error:
            log.warning("relay_waits", error=str(error), seconds=pause)
            stop.wait(random.uniform(pause / 2, pause))  # noqa: S311  # spreads load, no secret
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            continue
        pause = _FIRST_PAUSE_SECONDS
        events += done.events
        if done.events:
            log.info("relayed", events=done.events, more=done.more)
        if heartbeat_file:
            heartbeat_file.touch()
    log.info("relay_stopped", events=events)
    return events
