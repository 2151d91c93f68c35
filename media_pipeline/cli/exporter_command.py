"""`exporter`: the one process that tells Prometheus everything."""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from media_pipeline.errors import SystemicError

if TYPE_CHECKING:
    from media_pipeline.settings import Settings
    from media_pipeline.telemetry.collector import PipelineCollector
    from media_pipeline.telemetry.figures import EventLogFigures, OrchestratorFigures


_log = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(exporter)


def exporter(
    host: Annotated[str | None, typer.Option(help="Listen here; default: the setting.")] = None,
    port: Annotated[
        int | None, typer.Option(help="0 = any free one; default: the setting.")
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="Print all metrics and end.")] = False,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Print the Grafana dashboard and end.")
    ] = False,
) -> None:
    """Serve /metrics, /healthz and pages of media assets at /media; run one per installation.

    Until TERM or Ctrl-C.
    """
    from media_pipeline.settings import load_settings
    from media_pipeline.telemetry.dashboard import dashboard_json
    from media_pipeline.telemetry.metrics import markdown_table

    if table or dashboard:
        print(markdown_table() if table else dashboard_json(), end="")
        return
    from media_pipeline.cli.report_command import gallery_of
    from media_pipeline.cli.world import World
    from media_pipeline.telemetry.exporter import serve
    from media_pipeline.telemetry.logs import configure_logs

    configure_logs()
    settings = load_settings()
    given = settings.telemetry
    token = given.exporter_token.get_secret_value() if given.exporter_token else None
    server = serve(
        build_collector(settings),
        given.exporter_host if host is None else host,
        given.exporter_port if port is None else port,
        token,
        gallery_of(World(settings)).serve,
    )
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        print(f"http://{server.server_name}:{server.server_port}/metrics", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def build_collector(settings: Settings) -> PipelineCollector:
    """All sources of one installation; connects to nothing yet."""
    from media_pipeline.cli.world import World
    from media_pipeline.telemetry.collector import PipelineCollector
    from media_pipeline.telemetry.figures import read_event_log
    from resources.build import build_figure_store, build_lag_source
    from resources.credential_lifetimes import seconds_left
    from resources.credentials import credential_source
    from resources.devices import read_devices

    topic, deadline = settings.kafka.ingested_topic, settings.telemetry.scrape_deadline_seconds
    # Every source has its own client: they are asked at the same time.
    ledger, credentials = build_figure_store(settings), credential_source(settings)
    lag_source, world = build_lag_source(settings), World(settings)

    def read_lag() -> EventLogFigures:
        try:
            return read_event_log(lag_source, topic, deadline)
        finally:
            # A kept consumer would first hear the answer to the last scrape's fetch: old lag.
            lag_source.close()

    return PipelineCollector(
        ledger=ledger.figures,
        controls=world.recovery_store.controls,
        event_log=read_lag,
        orchestrator=_orchestrator(),
        credentials=lambda: seconds_left(credentials),
        devices=read_devices,
        probes={"object_store": world.object_store.probe},
        position=lambda figures: _position(figures, topic),
        processors=settings.workloads,
        deadline_seconds=deadline,
        image=settings.image_digest,
    )


def _orchestrator() -> Any:
    """Dagster's instance is opened at the first question: its storage may be away at the start."""
    from functools import cache

    @cache
    def instance() -> Any:
        from dagster import DagsterInstance

        return DagsterInstance.get()

    def read() -> OrchestratorFigures:
        from resources.orchestrator_figures import read_orchestrator

        return read_orchestrator(instance())

    return read


def _position(figures: OrchestratorFigures, topic: str) -> Mapping[int, int]:
    from sensors.cursor import SensorCursor
    from sensors.media_events import NAME

    try:
        return SensorCursor.loads(figures.cursors.get(NAME)).of(topic)
    except SystemicError as error:
        # Edited into nonsense: the sensor itself stops at it, and says so.
        _log.warning("The lag is told by the consumer group's offsets: %s", error)
        return {}
