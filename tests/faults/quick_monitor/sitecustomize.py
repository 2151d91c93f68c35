"""On PYTHONPATH of a Dagster that launches Kubernetes Jobs: its daemon asks an API that is away as
often as ever, after one second each instead of five. Dagster has no setting for it; the verdict on
two zombies would take a minute of waiting."""

import sys

if "dagster._daemon" in sys.orig_argv:
    import time
    from types import SimpleNamespace

    from dagster_k8s import client

    client.time = SimpleNamespace(
        sleep=lambda seconds: time.sleep(min(seconds, 1.0)), time=time.time
    )
