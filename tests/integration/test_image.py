"""The image as pods run it: another user, no capabilities, a root file system that is read-only.

Building takes minutes and a registry, so it is built elsewhere: IMAGE_UNDER_TEST names it.
"""

import os
import shutil
import subprocess

import pytest

IMAGE = os.environ.get("IMAGE_UNDER_TEST", "")
pytestmark = pytest.mark.skipif(
    not (IMAGE and shutil.which("docker")),
    reason="no image: build deploy/docker/Dockerfile and name it in IMAGE_UNDER_TEST",
)
AS_A_POD = [
    "--read-only", "--tmpfs", "/tmp", "--user", "10001:10001", "--cap-drop", "ALL",
    "--security-opt", "no-new-privileges", "--network", "none",
]  # fmt: skip


def in_image(*command: str) -> str:
    done = subprocess.run(
        ["docker", "run", "--rm", *AS_A_POD, IMAGE, *command],
        capture_output=True, text=True, check=False, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_knows_its_commands():
    text = in_image("media-pipeline", "--help")
    for command in ("migrate", "relay", "exporter"):
        assert command in text


def test_dagster_loads_the_definitions():
    script = "from media_pipeline.definitions import build_defs; print(len(build_defs().assets))"
    assert int(in_image("python", "-W", "ignore", "-c", script)) >= 4


IN_THE_CAGE = """
from media_pipeline.processing.processors import params_from
from media_pipeline.settings import Settings
from media_pipeline.workers.pool import Task, WorkerPool

params = params_from("text", Settings().processing.model_dump())
task = Task("a", "text", b"Minutes of the meeting.", "text/plain", params, 20)
with WorkerPool(1) as pool:
    (done,) = pool.run([task])
    print(done.result.code.value, dict(pool.cage))
"""


def test_media_are_processed_in_the_cage():
    assert in_image("python", "-c", IN_THE_CAGE).startswith("ok ")


def test_nothing_of_the_source_is_left_and_nothing_can_be_written():
    script = (
        "import os, media_pipeline, sys\n"
        "assert media_pipeline.__file__.startswith('/opt/venv'), media_pipeline.__file__\n"
        "assert not os.path.exists('/src')\n"
        "assert os.getuid() == 10001\n"
        "try:\n"
        "    open('/opt/dagster/dagster_home/x', 'w')\n"
        "except OSError:\n"
        "    print('read-only')\n"
    )
    assert in_image("python", "-c", script).strip() == "read-only"
