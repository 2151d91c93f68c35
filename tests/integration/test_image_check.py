"""What builds and tries the image: what it says without an engine, and where packages come from."""

import importlib.util
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHECKS = ("deploy/docker/check_image.py", "deploy/compose/check_stack.py")


def started(check: str, home: Path, **variables: str) -> subprocess.CompletedProcess:
    """Without a Docker client, unless `variables` name one."""
    (home / "bin").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, str(ROOT / check), "--directory", str(home)],
        env={"PATH": str(home / "bin"), "HOME": str(home), **variables},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
def test_without_docker_it_says_what_was_not_checked(check, tmp_path):
    done = started(check, tmp_path)
    assert done.returncode == 1, "what did not happen is no success"
    assert "docker is not installed" in done.stderr
    assert "nothing was checked" in done.stderr
    assert "make image-check compose-check" in done.stderr
    assert done.stdout == ""


def client(folder: Path, script: str) -> str:
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_an_engine_that_does_not_answer_is_told_from_a_client_that_cannot_build(tmp_path):
    silent = client(tmp_path, "exit 1")
    assert "no Docker engine answers" in started(CHECKS[0], tmp_path, DOCKER=silent).stderr
    unable = client(tmp_path, '[ "$1" = buildx ] && exit 1; echo "Docker version 28.2.2"')
    assert "lacks its buildx plugin" in started(CHECKS[0], tmp_path, DOCKER=unable).stderr


@pytest.fixture
def wheelhouse():
    path = ROOT / "deploy" / "docker" / "wheelhouse.py"
    specification = importlib.util.spec_from_file_location("wheelhouse", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_pip_finds_packages_of_the_folder_behind_the_proxy(wheelhouse, tmp_path):
    from tests.architecture.test_dockerfile import make_wheel

    folder, target = tmp_path / "wheels", tmp_path / "got"
    folder.mkdir()
    make_wheel(folder, "media_like", "1.2+cpu", "needed_too")
    make_wheel(folder, "needed_too", "3")
    with wheelhouse.Wheelhouse(folder) as proxy:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "--isolated", "download", "--quiet",
             "--dest", str(target), "--proxy", proxy, "--index-url", wheelhouse.INDEX,
             "--trusted-host", "wheelhouse.invalid", "media-like==1.2+cpu"],
            capture_output=True, text=True, check=False, env={"PATH": os.defpath},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy}))
        for missing in ("simple/unknown/", "files/unknown.whl", "files/..%2fx", "debian/Release"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                opener.open(f"http://wheelhouse.invalid/{missing}", timeout=5)
    assert {one.name for one in target.iterdir()} == {one.name for one in folder.iterdir()}


def test_a_file_is_listed_under_the_name_that_pip_asks_for(wheelhouse):
    assert wheelhouse.project_of("Typing_Extensions-4.15.0-py3-none-any.whl") == "typing-extensions"
    assert wheelhouse.project_of("antlr4-python3-runtime-4.9.3.tar.gz") == "antlr4-python3-runtime"
