"""Dagster as a child process: webserver, daemon and code server."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from media_pipeline.cli.dagster_api import DagsterApi
from media_pipeline.errors import SystemicError
from media_pipeline.local_stack.process import ServerProcess
from media_pipeline.local_stack.stack import RunningStack, note_server
from media_pipeline.settings import settings_of

#: Materializations of a batch are written in chunks of this many events.
EVENT_BATCH_SIZE = "1000"


def dagster_home_template() -> Path:
    """The folder `dagster_home`: in the repository, else inside the installed wheel."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package.parent / "dagster_home", package / "dagster_home"):
        if (candidate / "dagster.postgres.yaml").is_file():
            return candidate
    raise SystemicError(
        "dagster_home with dagster.postgres.yaml is in neither the repository nor the wheel.",
        remedy="reinstall media-pipeline.",
        code="installation_incomplete",
    )


def dagster_environment(
    stack: RunningStack, url: str | None = None, instance: Path | None = None
) -> dict[str, str]:
    """Variables that make Dagster use the embedded stack; writes the instance folder.

    `instance`: a dagster.yaml to use instead of `dagster.postgres.yaml`.
    """
    home = stack.data_dir / "dagster_home"
    home.mkdir(parents=True, exist_ok=True)
    template = dagster_home_template()
    shutil.copyfile(instance or template / "dagster.postgres.yaml", home / "dagster.yaml")
    shutil.copyfile(template / "workspace.yaml", home / "workspace.yaml")
    environment = {
        **stack.environment(),
        "DAGSTER_HOME": str(home),
        "DAGSTER_POSTGRES_URL": stack.dagster_postgres_url,
        "DAGSTER_EVENT_BATCH_SIZE": EVENT_BATCH_SIZE,
    }
    if url:
        environment["MEDIA_PIPELINE_DAGSTER_URL"] = url
    return environment


def _ensure_model(stack: RunningStack) -> None:
    """A fresh stack gets the default moderation model, so that moderation can work."""
    from media_pipeline.cli.model_commands import import_opennsfw_into, registry_path
    from media_pipeline.models.registry import load_registry
    from resources.build import build_object_store

    settings = stack.settings()
    path = registry_path(settings)
    if load_registry(path).current is None:
        import_opennsfw_into(build_object_store(settings), path)


@contextmanager
def running_dagster(
    stack: RunningStack,
    port: int,
    *,
    variables: Mapping[str, str] | None = None,
    instance: Path | None = None,
    ready_seconds: float = 180,
) -> Iterator[DagsterApi]:
    """`dagster dev` on the embedded stack until the block ends; yields once it is ready.

    `variables` are added to its environment; `instance`: see `dagster_environment`.
    """
    url = f"http://127.0.0.1:{port}"
    environment = {**dagster_environment(stack, url, instance), **(variables or {})}
    if "moderation" in settings_of(environment).workloads:
        _ensure_model(stack)
    home = Path(environment["DAGSTER_HOME"])
    command = [
        sys.executable, "-m", "dagster", "dev",
        "--host", "127.0.0.1", "--port", str(port),
        "--workspace", str(home / "workspace.yaml"),
    ]  # fmt: skip
    server = ServerProcess("dagster", command, log_dir=stack.data_dir / "logs", env=environment)
    server.start()
    try:
        api, deadline = DagsterApi(url), time.monotonic() + ready_seconds
        while not api.ready():
            server.require_alive()
            if time.monotonic() > deadline:
                raise SystemicError(
                    f"Dagster was not ready after {ready_seconds:.0f} s.",
                    remedy=f"read {server.log_file}.",
                    code="dagster_not_ready",
                )
            time.sleep(0.3)
        note_server(stack.data_dir, server, environment)
        yield api
    finally:
        server.stop()
