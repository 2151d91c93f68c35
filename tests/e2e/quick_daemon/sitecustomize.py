"""On PYTHONPATH of the tests' Dagster: its daemon looks after backfills every five seconds.

Dagster has no setting for the thirty seconds; waiting for them would be half of these tests.
"""

import sys

if "dagster._daemon" in sys.orig_argv:
    from dagster._daemon import controller

    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 5
