"""CPU time is counted per phase and thread, never for waiting."""

import threading
import time

import pytest

from media_pipeline.telemetry.phases import cpu_seconds, phase


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_threads_add_up_and_waiting_costs_nothing():
    before = cpu_seconds().get("claim", 0.0)
    idle = threading.Event()

    def work():
        with phase("claim"):
            burn(0.02)
            idle.wait(0.05)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = cpu_seconds()
    assert 0.06 <= found["claim"] - before < 0.06 + 3 * 0.05
    assert found["process"] >= found["claim"] - before


def test_a_failing_block_is_counted_too():
    before = cpu_seconds().get("record", 0.0)

    def fail():
        with phase("record"):
            burn(0.01)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert cpu_seconds()["record"] - before > 0.009  # a sum of floats may lose the last digit
