"""Prometheus, promtool and amtool: on PATH, else taken out of Debian's packages, without root."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: Beside the virtual environment: kept between runs, gone with it.
PLACE = Path(sys.prefix) / "monitoring"
PACKAGES = {
    "prometheus": "prometheus", "promtool": "prometheus", "amtool": "prometheus-alertmanager",
}  # fmt: skip


def program(name: str) -> str:
    """Path of the program; the test is skipped where it is not to be had."""
    try:
        return _path(name)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        package = PACKAGES[name]
        pytest.skip(f"no {package} here ({error}): apt-get install {package}")


def found(name: str) -> str | None:
    """Path of the program, None where it is not to be had."""
    try:
        return _path(name)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _path(name: str) -> str:
    if installed := shutil.which(name):
        return installed
    path = PLACE / "usr" / "bin" / name
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _unpack(PACKAGES[name])
    return str(path)


def _unpack(package: str) -> None:
    subprocess.run(
        ["apt-get", "download", "--quiet", package],
        cwd=PLACE, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (file,) = PLACE.glob(f"{package}_*.deb")
    subprocess.run(["dpkg-deb", "-x", file, PLACE], check=True, capture_output=True)
    file.unlink()
