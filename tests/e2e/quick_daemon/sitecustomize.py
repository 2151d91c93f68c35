"""On PYTHONPATH of the tests' Dagster: what only takes time is quick.

Its daemon looks after backfills every five seconds; Dagster has no setting for the thirty, and
waiting for them would be half of these tests. Its code server forks runs from a process that
has imported everything, instead of importing it for each: three seconds of CPU a run. That runs
start in fresh processes is what the README's demos and the Kubernetes tests show.
"""

import sys

if "dagster._daemon" in sys.orig_argv:
    from dagster._daemon import controller

    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 5

if sys.orig_argv[2:5] == ["dagster", "api", "grpc"]:
    import multiprocessing

    warm = multiprocessing.get_context("forkserver")
    warm.set_forkserver_preload(
        [
            "dagster._cli",
            "media_pipeline.definitions",
            "media_pipeline.dagster_storage",
            "kafka",
            "minio",
            "hvac",
        ]
    )
    stock = multiprocessing.get_context
    multiprocessing.get_context = lambda method=None: warm if method == "spawn" else stock(method)
