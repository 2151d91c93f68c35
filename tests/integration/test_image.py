"""The image as pods run it: another user, no capabilities, a root file system that is read-only.

Building takes minutes, so it happens elsewhere: `make image-check` builds it, with or without an
image registry, and runs this; IMAGE_UNDER_TEST names any other.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

IMAGE = os.environ.get("IMAGE_UNDER_TEST", "")
DOCKER = os.environ.get("DOCKER") or shutil.which("docker")
pytestmark = pytest.mark.skipif(
    not (IMAGE and DOCKER),
    reason="no image was built: `make image-check` builds one and tests it; "
    "IMAGE_UNDER_TEST names one that is there",
)
ROOT = Path(__file__).resolve().parents[2]
AS_A_POD = [
    "--read-only", "--tmpfs", "/tmp", "--user", "10001:10001", "--cap-drop", "ALL",
    "--security-opt", "no-new-privileges", "--network", "none",
]  # fmt: skip


def tell(line: str) -> None:
    """Measured, for who runs this by hand; nothing is asserted of it."""
    sys.stdout.write(f"\n{line}\n")


def docker(*words: str) -> str:
    done = subprocess.run(
        [DOCKER, *words], capture_output=True, text=True, check=False, timeout=170
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def in_image(*command: str) -> str:
    return docker("run", "--rm", *AS_A_POD, IMAGE, *command)


@contextmanager
def running(*command: str, **variables: str):
    """A container with `command` as its first process; removed at the end."""
    name = f"media-pipeline-{uuid.uuid4().hex[:8]}"
    given = [word for key, value in variables.items() for word in ("--env", f"{key}={value}")]
    docker("run", "--detach", "--name", name, *AS_A_POD, *given, IMAGE, *command)
    try:
        yield name
    finally:
        docker("rm", "--force", name)


def until_it_answers(name: str, *asked: str) -> float:
    """Seconds until the command `asked` ends well in the container."""
    began = time.monotonic()
    while True:
        done = subprocess.run(
            [DOCKER, "exec", name, *asked], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return time.monotonic() - began
        still = docker("inspect", "--format", "{{.State.Running}}", name).strip()
        logs = subprocess.run([DOCKER, "logs", name], capture_output=True, text=True, check=False)
        assert still == "true", logs.stdout + logs.stderr
        assert time.monotonic() - began < 120, logs.stdout + logs.stderr + done.stderr
        time.sleep(0.2)


def ends_when_asked(name: str) -> None:
    """A first process gets no signal that it does not handle: it would be killed at the end."""
    docker("stop", "--time", "30", name)
    state = json.loads(docker("inspect", "--format", "{{json .State}}", name))
    assert state["ExitCode"] not in (137, 1), state


@cache
def config() -> dict:
    return json.loads(docker("image", "inspect", "--format", "{{json .Config}}", IMAGE))


def test_its_configuration_is_what_pods_rely_on():
    found = config()
    assert found["User"] == "10001:10001"
    assert found["WorkingDir"] == "/opt/dagster/dagster_home"
    assert found["Cmd"] == ["media-pipeline", "version"]
    assert found["Labels"]["org.opencontainers.image.title"] == "media_pipeline"
    assert not re.search(r"(?i)token|password|secret|proxy", " ".join(found["Env"]))
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE)
    assert not re.search(r"(?i)_proxy=|pip install|wheelhouse", history), "the last stage alone"


def test_it_knows_its_commands():
    text = in_image("media-pipeline", "--help")
    for command in ("migrate", "relay", "exporter", "verify", "doctor", "models"):
        assert command in text
    assert re.fullmatch(r"\S*\d+\.\d+\.\d+\S*", in_image("media-pipeline", "version").split()[-1])


@pytest.mark.parametrize(
    "command",
    [
        ("dagster", "api", "execute_run", "--help"),
        ("dagster", "api", "execute_step", "--help"),
        ("dagster", "api", "grpc-health-check", "--help"),
        ("dagster", "code-server", "start", "--help"),
        ("dagster-daemon", "liveness-check", "--help"),
        ("dagster-webserver", "--help"),
    ],
    ids=" ".join,
)
def test_commands_that_pods_are_started_with_are_there(command):
    assert "Usage" in in_image(*command)


def test_dagster_loads_the_definitions():
    script = "from media_pipeline.definitions import build_defs; print(len(build_defs().assets))"
    assert int(in_image("python", "-W", "ignore", "-c", script)) >= 4


LISTED = """
from dagster._grpc.client import DagsterGrpcClient
print(DagsterGrpcClient(host="localhost", port=3030).list_repositories())
"""


def test_the_code_server_starts_answers_and_ends():
    start = ("dagster", "code-server", "start", "-p", "3030", "-m", "media_pipeline.definitions")
    with running(*start, DAGSTER_HOME="/tmp") as server:
        seconds = until_it_answers(server, "dagster", "api", "grpc-health-check", "-p", "3030")
        tell(f"code server: healthy after {seconds:.1f} s")
        assert "__repository__" in docker("exec", server, "python", "-W", "ignore", "-c", LISTED)
        ends_when_asked(server)


def test_the_exporter_starts_answers_and_ends_while_nothing_else_is_there():
    ask = "import urllib.request as u; u.urlopen('http://127.0.0.1:9464/healthz', timeout=8)"
    with running("media-pipeline", "exporter") as exporter:
        seconds = until_it_answers(exporter, "python", "-c", ask)
        tell(f"exporter: answers after {seconds:.1f} s")
        ends_when_asked(exporter)


def test_the_relay_waits_for_its_ledger_and_ends_when_asked():
    relays = ("media-pipeline", "relay", "--heartbeat-file", "/tmp/relay-alive")
    with running(*relays, MEDIA_PIPELINE_LEDGER__TOKEN="made-up") as relay:
        until_it_answers(relay, "sh", "-c", "grep -q relay /proc/1/cmdline && sleep 5")
        ends_when_asked(relay)


IN_THE_CAGE = """
import json

from media_pipeline.local_stack.sample_media import generate
from media_pipeline.processing.processors import params_from
from media_pipeline.settings import Settings
from media_pipeline.workers.pool import Task, WorkerPool

settings, samples = Settings().processing.model_dump(), generate(40, seed=3)
params = {kind: params_from(kind, settings) for kind in ("text", "thumbnails")}
tasks = [
    Task(f"{kind} {one.asset_id}", kind, one.data, one.content_type, params[kind], 20)
    for one in samples for kind in params
]
with WorkerPool(1) as pool:
    outcomes = [one.result.code.value for one in pool.run(tasks)]
    print(json.dumps({"outcomes": outcomes, "cage": dict(pool.cage)}))
"""


def test_media_are_processed_in_the_cage():
    found = json.loads(in_image("python", "-c", IN_THE_CAGE))
    assert found["outcomes"].count("ok") >= 40
    assert "crash" not in found["outcomes"]
    tell(f"cage: {found['cage']}")


READ = """
import io

from PIL import Image, ImageDraw, ImageFont

from media_pipeline.processing.json_artifact import unpacked_json
from media_pipeline.processing.ocr import OcrLimits, installed_languages, read_pages
from media_pipeline.processing.tesseract_program import tesseract_program

program = tesseract_program(None, None)
print(*installed_languages(*program))
picture, file = Image.new("L", (1200, 200), 255), io.BytesIO()
font = ImageFont.load_default(size=64)
ImageDraw.Draw(picture).text((40, 50), "Minutes of the meeting", font=font, fill=0)
picture.save(file, "PPM")
result = read_pages([file.getvalue()], OcrLimits(*program, languages=("eng", "deu")))
print(unpacked_json(result.artifacts[0].data))
"""


def test_tesseract_finds_its_languages_and_reads():
    languages, _, read = in_image("python", "-c", READ).partition("\n")
    assert {"eng", "deu"} <= set(languages.split())
    assert "Minutes of the meeting" in read


IMPORTED = """
import tempfile
from pathlib import Path

import torch

from media_pipeline.models.onnx_import import import_opennsfw

with tempfile.TemporaryDirectory() as directory:
    file, manifest = import_opennsfw(Path(directory))
    print(file.stat().st_size, *manifest.labels, torch.version.cuda)
"""


def test_the_models_extra_imports_a_model():
    """Built with EXTRAS=models, as Compose does; held against onnxruntime while it is imported."""
    size, *labels, _ = in_image("python", "-W", "ignore", "-c", IMPORTED).split()
    assert int(size) > 1_000_000
    assert labels == ["sfw", "nsfw"]


def test_torch_is_the_build_that_the_label_says():
    script = "import torch; print(torch.version.cuda, torch.__version__)"
    cuda, version = in_image("python", "-c", script).split()
    variant = config()["Labels"]["media-pipeline.variant"]
    assert (variant, cuda == "None", "+cpu" in version) in (
        ("cpu", True, True),
        ("gpu", False, False),
    )


def test_migrations_are_those_of_this_source():
    script = (
        "from importlib.resources import files\n"
        "print(*sorted(one.name for one in files('media_pipeline').joinpath('migrations').iterdir()"
        " if one.name.endswith('.sql')))\n"
    )
    ours = sorted(one.name for one in (ROOT / "deploy" / "postgres" / "migrations").glob("*.sql"))
    assert in_image("python", "-c", script).split() == ours


WRITABLE = """
import os

import media_pipeline

assert media_pipeline.__file__.startswith("/opt/venv"), media_pipeline.__file__
assert not os.path.exists("/src")
assert (os.getuid(), os.getgid()) == (10001, 10001)
for path in ("/", "/opt/venv", "/opt/dagster/dagster_home", "/var/lib/media-pipeline", "/etc"):
    try:
        open(os.path.join(path, "x"), "w")
    except OSError as error:
        print(error.strerror)
"""


def test_nothing_of_the_source_is_left_and_nothing_can_be_written():
    assert set(in_image("python", "-c", WRITABLE).splitlines()) <= {
        "Read-only file system",
        "Permission denied",
    }


def test_modules_are_compiled_since_nobody_can_do_it_later():
    script = (
        "import argparse, dagster, importlib.util, json, media_pipeline, torch\n"
        "for one in (argparse, dagster, json, media_pipeline, torch):\n"
        "    with open(importlib.util.cache_from_source(one.__file__), 'rb') as file:\n"
        "        # By hash and never compared: times of files differ from build to build.\n"
        "        assert file.read(8)[4:] == bytes([1, 0, 0, 0]), one\n"
    )
    in_image("python", "-W", "ignore", "-c", script)
