"""The embedded stack of tests that throw its data away."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from media_pipeline.local_stack.stack import RunningStack, embedded_stack


@contextmanager
def throwaway_stack(directory: Path) -> Iterator[RunningStack]:
    """`embedded_stack`, whose servers are not asked to end: it would take them two seconds and
    more. PostgreSQL is: its shared memory is the machine's."""
    with embedded_stack(directory) as stack:
        yield stack
        for name, server in stack.servers.items():
            if name != "postgresql" and server.pid:
                os.killpg(server.pid, signal.SIGKILL)
