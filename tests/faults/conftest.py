"""A stack that nobody else writes to: here every row, event and object is accounted for."""

import pytest

from media_pipeline.local_stack.stack import embedded_stack


@pytest.fixture(scope="package")
def stack(tmp_path_factory):
    """Instead of the one that contract tests fill with whatever they need."""
    with embedded_stack(tmp_path_factory.mktemp("faults")) as running:
        yield running
