"""Where the wheels put their programs."""

from __future__ import annotations

import shutil
import sys
from importlib import resources
from pathlib import Path

from media_pipeline.errors import SystemicError


def find_executable(name: str) -> str:
    """A program that a wheel installed beside this Python, or one on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise _missing(name)
    return found


def packaged_executable(package: str, name: str) -> str:
    """A program inside a package, at `<package>/bin/<name>`."""
    try:
        path = Path(str(resources.files(package) / "bin" / name))
    except ModuleNotFoundError as error:
        raise _missing(name) from error
    if not path.exists():
        raise _missing(name)
    if not path.stat().st_mode & 0o111:
        path.chmod(0o755)  # some installers drop the mode that the wheel records
    return str(path)


def _missing(name: str) -> SystemicError:
    return SystemicError(
        f"the program {name} is not installed.",
        remedy="install the embedded servers: pip install 'media-pipeline[local]'.",
        code="installation_incomplete",
    )
