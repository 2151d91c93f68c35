"""Processes of `tests.faults.one_process`, started from here and told where to die."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class OneProcess:
    """Children on one stack; `run` answers how the child ended."""

    def __init__(self, stack, home: Path, **variables: str) -> None:
        self.home = home
        self.log = (home / "children.log").open("w")
        self.environment = {
            **stack.environment(),
            "MEDIA_PIPELINE_WORKLOADS": '["text"]',
            "MEDIA_PIPELINE_BATCH__STRAGGLER_GRACE_SECONDS": "0",
            "MEDIA_PIPELINE_PROCESSING__WORKERS": "1",
            **variables,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.one_process"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )  # fmt: skip

    def run(self, crash_at: str | None = None) -> int:
        environment = dict(self.environment)
        if crash_at:
            environment["MEDIA_PIPELINE_CRASH_AT"] = crash_at
        asked = {"environment": environment, "home": str(self.home)}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.log.close()

    def skipped(self, sensor: str) -> str:
        """Why the newest tick of that sensor launched nothing."""
        return (self.home / f"{sensor}.skipped").read_text()

    def said(self) -> str:
        return Path(self.log.name).read_text()[-3000:]
