"""`up`, `down`, `status`, `env`: the embedded stack and Dagster from the command line."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

DataDir = Annotated[Path, typer.Option("--data-dir", help="Where the embedded stack keeps data.")]
DEFAULT_DATA_DIR = Path(".local")
#: Holds the pid of the process that has everything up that was asked for.
READY_FILE = "ready"


def register(app: typer.Typer) -> None:
    """Add the four commands to the command line."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(env)


def up(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background.")] = False,
    servers_only: Annotated[bool, typer.Option("--servers-only", help="Without Dagster.")] = False,
    port: Annotated[int, typer.Option(help="Port of the Dagster UI; 0 = any free one.")] = 0,
) -> None:
    """Start the embedded servers and Dagster, and keep them until Ctrl-C."""
    console = Console()
    if detach:
        _up_detached(data_dir, servers_only, port, console)
        return
    from media_pipeline.cli.dagster_process import running_dagster
    from media_pipeline.local_stack.ports import free_port
    from media_pipeline.local_stack.stack import embedded_stack

    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ExitStack() as running:
            stack = running.enter_context(embedded_stack(data_dir, on_event=console.print))
            if not servers_only:
                running.enter_context(running_dagster(stack, port or free_port()))
            ready = data_dir / READY_FILE
            ready.write_text(str(os.getpid()))
            running.callback(ready.unlink, missing_ok=True)
            _print_status(_state(data_dir), console)
            console.print('In another shell: eval "$(media-pipeline env)". Ctrl-C stops it.')
            signal.pause()
    except KeyboardInterrupt:
        console.print("Stopped; the data stays.")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _up_detached(data_dir: Path, servers_only: bool, port: int, console: Console) -> None:
    log, ready = data_dir / "logs" / "up.log", data_dir / READY_FILE
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "media_pipeline.cli.main", "up", "--port", str(port)]
    command += ["--data-dir", str(data_dir), *(["--servers-only"] if servers_only else [])]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # ourselves
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    while not (ready.exists() and ready.read_text() == str(process.pid)):
        if process.poll() is not None:
            console.print(log.read_text(), highlight=False, markup=False)
            raise typer.Exit(process.returncode or 1)
        time.sleep(0.1)
    _print_status(_state(data_dir), console)


def down(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Stop the stack that runs on this data directory; the data stays."""
    state = _state(data_dir)
    if not state:
        print("nothing is running")
        return
    os.kill(state["pid"], signal.SIGTERM)
    while _alive(state["pid"]):
        time.sleep(0.1)
    print("stopped")


def status(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Print each embedded server with its log file, and whether the intake is open.

    Without an embedded stack: of the ledger that the environment names. Exit code 1 if a
    server is down or the ledger does not answer.
    """
    from media_pipeline.cli.control_commands import print_controls  # quick --help
    from media_pipeline.cli.world import World
    from media_pipeline.errors import MediaPipelineError
    from media_pipeline.settings import load_settings, settings_of

    console, state = Console(), _state(data_dir)
    healthy = _print_status(state, console) if state else True
    settings = settings_of(state["environment"]) if state else load_settings()
    try:
        print_controls(World(settings).recovery_store.controls(), console)
    except MediaPipelineError as error:
        if not state:
            console.print("nothing is running here")
        console.print(f"intake: not known. {error}", markup=False)
        healthy = False
    if not healthy:
        raise typer.Exit(1)


def env(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Print `export` lines that point a shell at the running stack."""
    state = _state(data_dir)
    if not state:
        print("nothing is running: start it with `media-pipeline up`", file=sys.stderr)
        raise typer.Exit(1)
    for name, value in state["environment"].items():
        print(f"export {name}={shlex.quote(value)}")


def _state(data_dir: Path) -> dict[str, Any]:
    """The running stack's own description; empty when its process is gone."""
    file = data_dir / "stack.json"
    if not file.exists():
        return {}
    state: dict[str, Any] = json.loads(file.read_text())
    return state if _alive(state["pid"]) else {}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    # A zombie has ended, whoever has not yet asked for its exit code.
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _print_status(state: dict[str, Any], console: Console) -> bool:
    addresses = {
        name.removeprefix("MEDIA_PIPELINE_").lower(): value
        for name, value in state["environment"].items()
        # Ours alone: addresses of others (DAGSTER_POSTGRES_URL) carry passwords.
        if name.startswith("MEDIA_PIPELINE_")
        and name.endswith(("BOOTSTRAP_SERVERS", "ENDPOINT", "URL", "ADDRESS"))
    }
    table = Table()
    for column in ("server", "pid", "state", "log"):
        table.add_column(column, overflow="fold")
    healthy = True
    for name, server in state["servers"].items():
        alive = _alive(server["pid"])
        healthy = healthy and alive
        table.add_row(name, str(server["pid"]), "up" if alive else "DOWN", server["log"])
    console.print(table)
    for name, value in addresses.items():
        console.print(f"{name} = {value}", highlight=False)
    return healthy
