"""Builds the real image and runs tests/integration/test_image.py on it: make image-check.

    python deploy/docker/check_image.py [--twice] [--directory .local/image]

It needs a Docker engine with BuildKit. Where an image registry answers, the base is the one that
the Dockerfile names. Where none does, a base like it is made here: Debian's minimal system with
Debian's Python 3.11 (debootstrap, as root), and packages come from a folder that pip fills
beforehand. The Dockerfile is the same in both cases. `--twice` builds a second time without the
cache and compares.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from wheelhouse import INDEX, Wheelhouse

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
CONSTRAINTS = ROOT / "deploy" / "constraints.txt"
IMAGE = "media-pipeline:check"
LOCAL_BASE = "media-pipeline-base:bookworm-made-here"
SHOWN = 20
CPU_TORCH = "https://download.pytorch.org/whl/cpu"
SKIPPED = """\
Nothing was built and nothing was checked: %s
Not checked without it: that the Dockerfile builds; that the image runs as a pod does (no root, no
capabilities, a read-only root file system); that commands, code server and processors work in it;
that the Compose stack comes up and media go through it.
With one: make image-check compose-check"""
#: The image has `models`; `local` has the servers of deploy/compose/stand-ins too.
EXTRA = "local"


def main() -> None:
    """Build, measure, test; the status is that of the tests."""
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words.add_argument("--directory", type=Path, default=ROOT / ".local" / "image")
    words.add_argument("--twice", action="store_true", help="build again, compare the files")
    given = words.parse_args()
    given.directory.mkdir(parents=True, exist_ok=True)
    docker = Docker()
    build(docker, given.directory, IMAGE)
    measure(docker, IMAGE)
    if given.twice:
        first = digests(docker, IMAGE)
        build(docker, given.directory, f"{IMAGE}-again", "--no-cache")
        compare(first, digests(docker, f"{IMAGE}-again"))
    sys.exit(test(docker, IMAGE))


class Docker:
    """A client that builds with BuildKit, and its engine; without them the program ends."""

    def __init__(self) -> None:
        folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
        found = [os.environ.get("DOCKER") or str(Path(one) / "docker") for one in folders]
        clients = [one for one in dict.fromkeys(found) if shutil.which(one)]
        if not clients:
            stop("docker is not installed (apt-get install docker.io)")
        answering = [one for one in clients if _answers(one)]
        if not answering:
            stop("no Docker engine answers: start dockerd, or name one in DOCKER_HOST")
        # Debian's client has BuildKit in it; newer ones have it as a plugin, which may be missing.
        building = [one for one in answering if _builds(one)]
        if not building:
            stop("the Docker client lacks its buildx plugin (apt-get install docker-buildx)")
        self.program = building[0]

    def run(self, *words: str, timeout: int | None = None) -> str:
        """What a command prints; its messages end the program if it fails."""
        done = self.tried(*words, timeout=timeout)
        if done.returncode:
            sys.exit(f"docker {words[0]} failed:\n{done.stderr[-4000:]}")
        return done.stdout

    def tried(self, *words: str, timeout: int | None = None) -> subprocess.CompletedProcess[str]:
        """The same, for who can bear a failure."""
        return subprocess.run(
            [self.program, *words], capture_output=True, text=True, check=False,
            timeout=timeout, env={**os.environ, "DOCKER_BUILDKIT": "1"}, cwd=ROOT,
        )  # fmt: skip


def _answers(client: str) -> bool:
    asked = [client, "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(asked, capture_output=True, check=False, timeout=60).returncode == 0


def _builds(client: str) -> bool:
    version = subprocess.run([client, "--version"], capture_output=True, text=True, check=True)
    number = re.search(r"version (\d+)", version.stdout)
    if number and int(number[1]) < 23:  # noqa: PLR2004 - since then it is a plugin
        return True
    asked = [client, "buildx", "version"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def stop(why: str) -> NoReturn:
    """Say what was not done; a check that did not happen is not a success."""
    print(SKIPPED % why, file=sys.stderr)
    sys.exit(1)


def build(docker: Docker, directory: Path, image: str, *more: str) -> None:
    """The image from the Dockerfile as it stands."""
    with base_and_packages(docker, directory) as arguments:
        build_with(docker, image, arguments, *more)


def build_with(docker: Docker, image: str, arguments: list[str], *more: str) -> None:
    """The same with what `base_and_packages` gives."""
    print(f"== {image}", flush=True)
    given = [word for one in arguments for word in ("--build-arg", one)]
    began = time.monotonic()
    docker.run(
        "build", "--file", str(DOCKERFILE), "--tag", image, "--progress", "plain", *more,
        "--build-arg", "EXTRAS=models", "--build-arg", "VERSION=check", *given,
        *(["--network", "host"] if given else []), ".",
    )  # fmt: skip
    print(f"build: {time.monotonic() - began:.0f} s")


@contextlib.contextmanager
def base_and_packages(docker: Docker, directory: Path) -> Iterator[list[str]]:
    """Build arguments; none where the registry has the base. Serves the packages while in use."""
    (pinned,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    if _given_by_a_registry(docker, pinned):
        print(f"base: {pinned}")
        yield []
        return
    print(f"base: made here, because no registry gives {pinned}")
    if docker.tried("image", "inspect", LOCAL_BASE).returncode:
        make_base(docker, directory / "base")
    with Wheelhouse(download(directory)) as proxy:
        # Every Dockerfile takes a proxy without saying so, and the cache does not depend on it.
        yield [f"PYTHON_IMAGE={LOCAL_BASE}", f"HTTP_PROXY={proxy}", f"TORCH_INDEX={INDEX}"]


def _given_by_a_registry(docker: Docker, image: str) -> bool:
    try:
        return docker.tried("pull", "--quiet", image, timeout=600).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def make_base(docker: Docker, root: Path) -> None:
    """Debian with its Python where python:3.11-slim-bookworm has one, and pip's index named."""
    if not shutil.which("debootstrap"):
        stop("no image registry answers, and debootstrap is not installed to make a base")
    if os.geteuid() != 0:
        stop("no image registry answers, and only root can make a base with debootstrap")
    print("== base, with debootstrap", flush=True)
    shutil.rmtree(root, ignore_errors=True)
    # distutils by its name: debootstrap follows no virtual packages, and venv needs one.
    packages = "python3.11,python3.11-venv,python3-distutils,ca-certificates,netbase,tzdata"
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root),
         os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        log = root / "debootstrap" / "debootstrap.log"
        sys.exit(f"debootstrap failed:\n{log.read_text()[-3000:] if log.exists() else done.stderr}")
    for name in ("python", "python3", "python3.11"):
        (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3.11")
    (root / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink(missing_ok=True)
    host = INDEX.split("/")[2]
    (root / "etc/pip.conf").write_text(f"[global]\nindex-url = {INDEX}\ntrusted-host = {host}\n")
    for compiled in (root / "usr/lib/python3.11").rglob("*.pyc"):
        compiled.unlink()  # the other base has none
    for left in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
        shutil.rmtree(root / left, ignore_errors=True)
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as packed:
        subprocess.run(
            [docker.program, "import", "--change", 'CMD ["python3"]', "-", LOCAL_BASE],
            stdin=packed.stdout, check=True,
        )  # fmt: skip
    if packed.returncode:
        sys.exit("tar failed")
    shutil.rmtree(root)


def download(directory: Path) -> Path:
    """Wheels of everything that the build installs, by this machine's pip; kept for next time."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [project["dependencies"], project["optional-dependencies"], EXTRA]
    text = CONSTRAINTS.read_text() + json.dumps(wanted)
    folder = directory / f"wheels-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    print(f"== packages, into {folder}", flush=True)
    for old in directory.glob("wheels-*"):
        shutil.rmtree(old)
    partial = directory / "wheels-partial"
    torch = re.search(r"^torch==\S+", CONSTRAINTS.read_text(), re.MULTILINE)
    assert torch, "constraints.txt pins torch"  # noqa: S101
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--dest", str(partial)]
    # From where this machine's pip looks, or from where the Dockerfile looks.
    alone = [*pip, "--no-deps", f"{torch[0]}+cpu"]
    if subprocess.run(alone, capture_output=True, check=False).returncode:
        subprocess.run([*alone, "--index-url", CPU_TORCH], check=True)
    # What builds packages that have no wheel, too.
    builders = ["hatchling", "setuptools", "wheel", "cyclonedx-bom"]
    subprocess.run(
        [*pip, "--find-links", str(partial), "--constraint", str(CONSTRAINTS), *builders,
         f"{torch[0]}+cpu", f"{ROOT}[{EXTRA}]"],
        check=True,
    )  # fmt: skip
    return partial.rename(folder)


def measure(docker: Docker, image: str) -> None:
    """Print sizes and how long a process takes to begin."""
    size = int(docker.run("image", "inspect", "--format", "{{.Size}}", image))
    print(f"image: {size / 1e6:.0f} MB")
    history = docker.run("history", "--no-trunc", "--format", "{{.Size}} {{.CreatedBy}}", image)
    for line in history.splitlines():
        if "/opt/venv /opt/venv" in line:
            print(f"layer of the environment: {line.split()[0]}")
    packages = "/opt/venv/lib/python3.11/site-packages"
    for folder in (packages, f"{packages}/torch"):
        used = docker.run("run", "--rm", image, "du", "--summarize", "--block-size=1M", folder)
        print(f"  {Path(folder).name}: {used.split()[0]} MiB")
    for command in (("true",), ("media-pipeline", "version")):
        began = time.monotonic()
        docker.run("run", "--rm", image, *command)
        print(f"docker run {' '.join(command)}: {time.monotonic() - began:.1f} s")


DIGESTS = """
import hashlib, json, os, sys
found = {}
for folder, _, names in os.walk("/opt/venv"):
    for name in names:
        path = os.path.join(folder, name)
        content = os.readlink(path).encode() if os.path.islink(path) else open(path, "rb").read()
        found[path] = hashlib.sha256(content).hexdigest()
json.dump(found, sys.stdout)
"""


def digests(docker: Docker, image: str) -> dict[str, str]:
    """Each file of the environment: path -> SHA-256."""
    found: dict[str, str] = json.loads(docker.run("run", "--rm", image, "python", "-c", DIGESTS))
    return found


def compare(first: dict[str, str], second: dict[str, str]) -> None:
    """Print which files two builds made differently."""
    paths = sorted(set(first) | set(second))
    differing = [path for path in paths if first.get(path) != second.get(path)]
    print(f"two builds: {len(differing)} of {len(paths)} files of the environment differ")
    for path in differing[:SHOWN]:
        print(f"  {path}")


def test(docker: Docker, image: str) -> int:
    """tests/integration/test_image.py on `image`."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-s", "-q", "tests/integration/test_image.py"],
        cwd=ROOT, check=False,
        env={**os.environ, "IMAGE_UNDER_TEST": image, "DOCKER": docker.program},
    ).returncode  # fmt: skip


if __name__ == "__main__":
    main()
