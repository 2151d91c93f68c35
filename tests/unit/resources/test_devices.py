"""GPUs through a played driver tool."""

import pytest

from media_pipeline.errors import TransientError
from media_pipeline.telemetry.figures import DeviceFigures
from resources.devices import read_devices


@pytest.fixture
def tool(tmp_path):
    def make(script):
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return make


def test_no_tool_no_gpu():
    assert read_devices("no-such-nvidia-smi") == {}


def test_each_gpu_is_told(tool):
    found = read_devices(tool("echo '0, 37, 1024, 4096'; echo '1, 0, 0, 4096'"))
    assert found == {"0": DeviceFigures(0.37, 0.25), "1": DeviceFigures(0.0, 0.0)}


@pytest.mark.parametrize("script", ["exit 9", "echo '0, [N/A], 1, 2'", "echo nonsense"])
def test_a_tool_that_fails_is_no_idle_gpu(tool, script):
    with pytest.raises(TransientError, match="device_unreadable"):
        read_devices(tool(script))
