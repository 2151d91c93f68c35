"""The embedded stack of tests that throw its data away."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from media_pipeline.local_stack.database import place_of_private
from media_pipeline.local_stack.stack import RunningStack, embedded_stack


def forget(*data_dirs: Path) -> None:
    """Take away what pytest does not: fifty megabytes each, in the machine's temporary folder."""
    for directory in data_dirs:
        shutil.rmtree(place_of_private(directory), ignore_errors=True)


@contextmanager
def throwaway_stack(directory: Path) -> Iterator[RunningStack]:
    """`embedded_stack`, whose servers are not asked to end: it would take them two seconds and
    more. PostgreSQL is: its shared memory is the machine's."""
    with embedded_stack(directory) as stack:
        yield stack
        for name, server in stack.servers.items():
            if name != "postgresql" and server.pid:
                os.killpg(server.pid, signal.SIGKILL)
    forget(directory)
