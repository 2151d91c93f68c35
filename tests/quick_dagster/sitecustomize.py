"""On PYTHONPATH of a test's Dagster: what only takes time is quick. Dagster has no settings for it.

Its daemon looks after sensors and backfills every two seconds, instead of five and thirty, and
asks a Kubernetes API that is away as often as ever, but after one second each instead of five.

Its code server forks runs from a process that has imported everything, instead of importing it
for each: three seconds of CPU a run. That runs start in fresh processes is what the README's
demos and the Kubernetes tests show.
"""

import sys

if "dagster._daemon" in sys.orig_argv:
    from dagster._daemon import controller, sensor

    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 2
    sensor.MIN_INTERVAL_LOOP_TIME = 2
    if any("dagster_k8s" in word for word in sys.orig_argv):  # the instance, as JSON
        import time
        from types import SimpleNamespace

        from dagster_k8s import client

        client.time = SimpleNamespace(
            sleep=lambda seconds: time.sleep(min(seconds, 1.0)), time=time.time
        )

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
