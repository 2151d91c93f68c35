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
from tests.e2e.pipeline import ended, message, wait_until
from tests.otlp_collector import running_collector
from tests.stacks import throwaway_stack


def pytest_collection_modifyitems(items):
    """Stable: within a module nothing moves."""
    items.sort(key=lambda item: "e2e/test_" in item.nodeid and "test_main_job" not in item.nodeid)


@pytest.fixture(scope="package")
def stack(tmp_path_factory):
    """A stack of its own: here every row, event and offset is accounted for."""
    with throwaway_stack(tmp_path_factory.mktemp("e2e")) as running:
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
        "PYTHONPATH": str(Path(__file__).parents[1] / "quick_dagster"),
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
    """Media of every kind, a redelivery, an invalid message and oddities, all through the
    pipeline, in one batch."""
    samples = list(generate(24, seed=7))
    scan = next(one for one in samples if one.asset_id.endswith("scan"))
    odd = oddities(world, scan.data)
    uploads = [
        upload(world, one.asset_id, one.filename, one.data, one.content_type) for one in samples
    ]
    announce(world, uploads)
    announce(world, uploads[:3])
    topic = world.settings.kafka.ingested_topic
    invalid = OutgoingEvent("invalid", topic, b"invalid-1", b'{"asset_id": "cut o')
    world.event_sink.publish([*odd, invalid])
    names = [one.asset_id for one in samples] + [one.key.decode() for one in odd]
    wait_until(lambda: ended(world, names), f"{len(names)} media assets")
    return samples


def oddities(world, scan: bytes) -> list[OutgoingEvent]:
    """Messages that ask for languages, and such whose claims are wrong, with a good neighbour;
    their objects are there, if they should be."""
    text = b"A perfectly good note."
    for name, data, kind in (
        ("lang-deu", scan, "application/pdf"),
        ("lang-missing", scan, "application/pdf"),
        ("bad-changed", text, "text/plain"),
        ("bad-large", b"x" * (world.settings.object_store.max_object_bytes + 1), "text/plain"),
        ("good-mislabelled", text, "text/plain"),
        ("good-neighbour", text, "text/plain"),
    ):
        world.object_store.upload("media", f"uploads/{name}", data, kind)
    return [
        message("lang-deu", ocr_languages=["deu"]),
        message("lang-missing", ocr_languages=["jpn"]),
        message("good-mislabelled", content_type="image/png"),
        message("good-neighbour"),
        message("bad-missing"),
        message("bad-changed", etag="0" * 32),
        message("bad-large"),
    ]
