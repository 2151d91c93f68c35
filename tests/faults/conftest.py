"""A stack that nobody else writes to: here every row, event and object is accounted for."""

import pytest

from media_pipeline.cli.world import World
from tests.faults.children import OneProcess
from tests.stacks import throwaway_stack


@pytest.fixture(scope="package")
def stack(tmp_path_factory):
    """Instead of the one that contract tests fill with whatever they need."""
    with throwaway_stack(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture(scope="module")
def world(stack):
    return World(stack.settings())


@pytest.fixture
def children(stack, tmp_path):
    running = OneProcess(stack, tmp_path)
    yield running
    running.close()
