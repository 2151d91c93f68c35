"""One stack and one Dagster for all end-to-end tests: modules build on each other's data.

`test_main_job` runs first and counts everything; other modules add media assets of their own
and assert about these alone. Both end with the last of these tests: an idle Dagster still takes
a quarter of a CPU.
"""

import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from media_pipeline.cli.dagster_process import running_dagster
from media_pipeline.cli.main import app
from media_pipeline.cli.producer import announce, upload
from media_pipeline.cli.world import World
from media_pipeline.domain.ports import OutgoingEvent
from media_pipeline.errors import MediaPipelineError
from media_pipeline.local_stack.ports import free_port
from media_pipeline.local_stack.sample_media import generate
from media_pipeline.local_stack.stack import embedded_stack
from tests.e2e.pipeline import ended, wait_until
from tests.otlp_collector import running_collector


def pytest_collection_modifyitems(items):
    """Stable: within a module nothing moves."""
    items.sort(key=lambda item: "e2e/test_" in item.nodeid and "test_main_job" not in item.nodeid)


@pytest.fixture(scope="package")
def stack(tmp_path_factory):
    """A stack of its own: here every row, event and offset is accounted for."""
    with embedded_stack(tmp_path_factory.mktemp("e2e")) as running:
        yield running


@pytest.fixture(scope="package")
def world(stack):
    return World(stack.settings())


@pytest.fixture(scope="package")
def collector():
    """Where every trace goes, with its token in `token`."""
    with running_collector() as collector:
        collector.token = f"trace-store-{uuid.uuid4().hex}"
        yield collector


@pytest.fixture(scope="package")
def dagster(stack, world, collector):
    variables = {
        "PYTHONPATH": str(Path(__file__).parent / "quick_daemon"),
        "MEDIA_PIPELINE_TELEMETRY__OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "MEDIA_PIPELINE_TELEMETRY__OTLP_TOKEN": collector.token,
        "MEDIA_PIPELINE_TELEMETRY__TRACE_SAMPLE_RATIO": "1",
    }
    with running_dagster(stack, free_port(), variables=variables, ready_seconds=240) as api:
        yield api


@pytest.fixture
def run(stack, dagster, monkeypatch):
    """`media-pipeline ...`: (exit code, standard output)."""
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MEDIA_PIPELINE_DAGSTER_URL", dagster.url)

    def invoke(*arguments: str):
        done = CliRunner().invoke(app, arguments)
        if isinstance(done.exception, MediaPipelineError):
            raise done.exception
        return done.exit_code, done.stdout

    return invoke


@pytest.fixture(scope="package")
def samples(world, dagster):
    """Forty made-up media, a redelivery and an invalid message, all through the pipeline."""
    samples = list(generate(40, seed=7))
    uploads = [
        upload(world, one.asset_id, one.filename, one.data, one.content_type) for one in samples
    ]
    announce(world, uploads)
    announce(world, uploads[:3])
    invalid = b'{"asset_id": "cut o'
    topic = world.settings.kafka.ingested_topic
    world.event_sink.publish([OutgoingEvent("invalid", topic, b"invalid-1", invalid)])
    wait_until(lambda: ended(world, [one.asset_id for one in samples]), "40 media assets")
    return samples
