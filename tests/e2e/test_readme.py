"""Every command of the README is run here, by CI, or is the one that runs this."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from media_pipeline.local_stack.sample_media import EVERY_KIND
from tests.stacks import forget

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
#: Run elsewhere: `make test` runs this very test; `make venv` is its prerequisite.
BY_CI = {"make test", "make venv", 'export PATH="$PWD/.venv/bin:$PATH"'}


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path):
    yield
    forget(tmp_path / ".local")


def test_every_block_is_known():
    assert len(BLOCKS) == 4
    assert BLOCKS[0].strip() == "make demo"
    assert BLOCKS[3].strip() == "make test"


@pytest.mark.timeout(400)
def test_publish_and_poison(tmp_path):
    """The two middle blocks as one shell session, on data of their own."""
    lines = [line for block in BLOCKS[1:3] for line in block.splitlines() if line not in BY_CI]
    script = "\n".join(line.replace("/tmp/", f"{tmp_path}/") for line in lines)
    environment = {**os.environ, "PATH": f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # Whatever failed: nothing detached may outlive the test.
    program = Path(os.sys.executable).with_name("media-pipeline")
    left = subprocess.run(
        [program, "down"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert left.stdout.strip() == "nothing is running"
    output = re.sub(r"\s+", " ", done.stdout)
    assert "postgresql" in output
    assert "minutes.txt" in output
    assert "1 dead letters in media.processing.dlq" in output
    assert "letter.pdf" in output
    assert "invalid" in output
    assert "stopped" in output
    assert "media_admin" not in output, "no address with a password is for the screen"


@pytest.mark.timeout(600)
def test_demo_accounts_for_everything_and_a_second_run_duplicates_nothing(tmp_path):
    """`make demo` is this command; here smaller, twice on the same data. The second one is
    `make demo KEEP=1`: it stays until it is told to stop."""
    program = str(Path(os.sys.executable).with_name("media-pipeline"))
    command = [program, "demo", "--count", str(EVERY_KIND)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every message accounted for" in done.stdout
    assert "were enriched before" not in done.stdout
    process = subprocess.Popen(
        [*command, "--keep"], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
        # Whoever runs the tests in the background ignores Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip
    try:
        seen = []
        for line in process.stdout:
            seen.append(line)
            if "Everything keeps running" in line:
                break
        output = "".join(seen)
        assert process.poll() is None, output
        status = subprocess.run([program, "status"], cwd=tmp_path, check=False)
        assert status.returncode == 0
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.terminate()  # stops its servers too
            process.wait(60)
    gone = subprocess.run([program, "status"], cwd=tmp_path, check=False)
    assert gone.returncode == 1
    assert "Every message accounted for" in output
    recognised = re.search(r"(\d+) of these media assets were enriched before", output)
    assert recognised.group(1) == str(EVERY_KIND)
    text = re.sub(r"\s+", " ", output)
    assert "nothing was duplicated (0 new objects, 0 new events)" in text
