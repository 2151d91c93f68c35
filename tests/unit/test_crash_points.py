"""Crash points: the process ends exactly there, and nothing is touched without one."""

import os

import pytest

from media_pipeline import crash_points
from media_pipeline.errors import PermanentError


class Port:
    def __init__(self):
        self.calls = []

    def put(self, key):
        self.calls.append(key)
        return key

    def get(self, key):
        return key


@pytest.fixture(autouse=True)
def _disarmed():
    yield
    crash_points.arm(None)


def test_unarmed_ports_are_themselves():
    port = Port()
    assert crash_points.watched(port, "store") is port
    crash_points.arm("other.put:before")
    assert crash_points.watched(port, "store") is port


@pytest.mark.parametrize(
    ("point", "calls"),
    [
        ("store.put:before", []),
        ("store.put:after", ["a"]),
        ("store.put:before#2", ["a"]),
        ("store.put:after#3", ["a", "b", "c"]),
        ("store.get:before", ["a", "b", "c"]),
    ],
)
def test_the_process_ends_there(point, calls, tmp_path):
    child = os.fork()
    if child == 0:
        crash_points.arm(point)
        port = Port()
        watched = crash_points.watched(port, "store")
        original = port.put

        def noted(key):
            (tmp_path / key).touch()
            return original(key)

        port.put = noted
        for key in ("a", "b", "c"):
            watched.put(key)
        watched.get("d")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == crash_points.KILLED
    assert sorted(path.name for path in tmp_path.iterdir()) == calls


def test_with_a_marker_only_once(tmp_path):
    codes = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            crash_points.arm(f"store.put:before@{tmp_path / 'once'}")
            crash_points.watched(Port(), "store").put("a")
            os._exit(0)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert codes == [crash_points.KILLED, 0]


@pytest.mark.parametrize("text", ["put", "store.put", "store.put:during", "store.put:before#", ""])
def test_another_form_is_refused(text):
    with pytest.raises(PermanentError) as caught:
        crash_points.parse(text)
    assert caught.value.code == "bad_crash_point"
