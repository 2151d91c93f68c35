"""GPUs as the driver's own tool sees them."""

from __future__ import annotations

import shutil
import subprocess

from media_pipeline.errors import TransientError
from media_pipeline.telemetry.figures import DeviceFigures

_QUERY = "--query-gpu=index,utilization.gpu,memory.used,memory.total"
_SECONDS = 5


def read_devices(tool: str = "nvidia-smi") -> dict[str, DeviceFigures]:
    """Index -> figures; empty where the tool is not installed: no driver, no GPU.

    TransientError `device_unreadable` when the tool is there and fails.
    """
    path = shutil.which(tool)
    if path is None:
        return {}
    try:
        done = subprocess.run(  # noqa: S603  # the driver's tool, fixed arguments
            [path, _QUERY, "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=_SECONDS, check=True,
        )  # fmt: skip
        rows = [line.split(", ") for line in done.stdout.splitlines() if line.strip()]
        return {
            index: DeviceFigures(float(busy) / 100, float(used) / float(total))
            for index, busy, used, total in rows
        }
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        raise TransientError(
            f"{tool} did not tell of the GPUs: {type(error).__name__} {error}",
            remedy=f"run `{tool}` on that node; the driver may have to be reloaded.",
            code="device_unreadable",
        ) from error
