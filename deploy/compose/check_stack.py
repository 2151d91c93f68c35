"""Starts the real Compose stack, sends media through it, restarts parts: make compose-check.

    python deploy/compose/check_stack.py [--keep]

It needs a Docker engine and Compose. Where an image registry answers, servers are those that
compose.yaml names. Where none does, base and servers are made here (deploy/docker/check_image.py,
deploy/compose/stand-ins). What is Compose's own part is checked either way: secrets and who reads
them, roles, order, health checks, read-only file systems, networks. Data, ports and secrets are its
own: a stack of `make compose-up` goes on. `--keep` leaves it running.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "deploy" / "docker"))
import check_image  # noqa: E402 - beside the Dockerfile
from make_secrets import write_all  # noqa: E402

PROJECT = "media-pipeline-check"
STAND_INS = ROOT / "deploy" / "compose" / "stand-ins"
STAND_IN_IMAGE = "media-pipeline-servers:check"
OURS = ("code", "daemon", "webserver", "relay", "exporter")
#: Restarted below a running pipeline. Not the broker: its stand-in keeps nothing.
SERVERS = ("postgres", "postgrest", "object-store", "vault")
#: They run once.
ENDING = ("migrate", "prepare")
PATIENCE_SECONDS = 300
KILLED = 137
LOCATION = """{ workspaceOrError { ... on Workspace { locationEntries {
    name locationOrLoadError { __typename } } } } }"""


def main() -> None:
    """All of it; a sentence says what is wrong, and the logs are in the folder."""
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words.add_argument("--directory", type=Path, default=ROOT / ".local" / "compose-check")
    words.add_argument("--keep", action="store_true", help="leave it running, with its data")
    given = words.parse_args()
    docker = check_image.Docker()
    stack = Stack(docker, given.directory)
    images = ROOT / ".local" / "image"
    images.mkdir(parents=True, exist_ok=True)
    with check_image.base_and_packages(docker, images) as arguments:
        check_image.build_with(docker, check_image.IMAGE, arguments)
        if arguments:
            stack.use_stand_ins(arguments)
    try:
        check(stack)
    finally:
        stack.keep_logs()
        if not given.keep:
            stack.run("down", "--volumes")
    print("the Compose stack does what it should")


def check(stack: Stack) -> None:
    """The steps, in the order in which an operator would see them."""
    stack.run("down", "--volumes")
    began = time.monotonic()
    stack.run("up", "--detach", "--no-build", "--quiet-pull")
    stack.until("everything is healthy", stack.all_healthy)
    print(f"up and healthy: {time.monotonic() - began:.0f} s", flush=True)
    pages(stack)
    verify(stack)
    figures(stack)
    for service in OURS:
        stack.run("restart", service)
    stack.until("everything is healthy again", stack.all_healthy)
    verify(stack)
    stack.run("restart", *SERVERS)
    stack.until("servers are healthy again", stack.all_healthy)
    # The vault is in memory; everything else is there, and is not made a second time.
    again = stack.run("run", "--rm", "--no-deps", "prepare").strip()
    require(again.startswith("credentials at"), f"prepare made something a second time: {again}")
    verify(stack)
    stack.run("stop", *OURS)
    killed = [one["Service"] for one in stack.containers() if one["ExitCode"] == KILLED]
    require(not killed, f"did not end when asked to: {killed}")
    refused = [line for line in stack.logs(*OURS, *ENDING).splitlines()
               if "Permission denied" in line or "Read-only file system" in line]  # fmt: skip
    require(not refused, "\n".join(refused[:10]))


def pages(stack: Stack) -> None:
    """The published ones, as a browser on this machine sees them."""
    entries: list[Any] = []

    def loaded() -> bool:
        body = json.dumps({"query": LOCATION}).encode()
        answer = fetched(f"{stack.url('DAGSTER_PORT')}/graphql", body)
        entries[:] = answer["data"]["workspaceOrError"]["locationEntries"]
        kinds = [(one["locationOrLoadError"] or {}).get("__typename") for one in entries]
        return kinds == ["RepositoryLocation"]

    stack.until("the UI has loaded the code location", loaded)
    prometheus = stack.url("PROMETHEUS_PORT")
    rules = fetched(f"{prometheus}/api/v1/rules")["data"]["groups"]
    require(sum(len(one["rules"]) for one in rules) > 10, "Prometheus has no alert rules")  # noqa: PLR2004

    def asked(path: str) -> Any:
        return fetched(f"{prometheus}/api/v1/{path}")["data"]

    stack.until(
        "Prometheus reads the exporter with its token",
        lambda: [one["value"][1] for one in asked("query?query=up")["result"]] == ["1"],
    )
    stack.until(
        "Prometheus has found Alertmanager",
        lambda: len(asked("alertmanagers")["activeAlertmanagers"]) == 1,
    )
    print("pages: UI, Prometheus, rules, exporter, Alertmanager", flush=True)


def verify(stack: Stack) -> None:
    """A sample of each type, from the message to objects, rows and event."""
    began = time.monotonic()
    print(stack.run("exec", "--no-TTY", "code", "media-pipeline", "verify"))
    print(f"verified in {time.monotonic() - began:.0f} s", flush=True)


def figures(stack: Stack) -> None:
    """What was just done can be counted."""
    query = "query?query=sum(processor_events_processed_total)"

    def counted() -> bool:
        found = fetched(f"{stack.url('PROMETHEUS_PORT')}/api/v1/{query}")["data"]["result"]
        return bool(found) and float(found[0]["value"][1]) > 0

    stack.until("Prometheus has counted the samples", counted)


class Stack:
    """Compose with this check's project, secrets and ports."""

    def __init__(self, docker: check_image.Docker, directory: Path) -> None:
        self._docker, self._directory = docker, directory
        self._program = _compose(docker)
        self._files = [ROOT / "deploy" / "compose" / "compose.yaml"]
        self._ports = {
            f"{one}_PORT": str(_free_port()) for one in ("DAGSTER", "PROMETHEUS", "GRAFANA")
        }
        write_all(directory)

    def use_stand_ins(self, arguments: list[str]) -> None:
        """Servers made here instead of those that no registry gives."""
        print(f"servers: made here ({STAND_INS.relative_to(ROOT)}); no Grafana, no collector")
        given = [word for one in arguments for word in ("--build-arg", one)]
        self._docker.run(
            "build", "--network", "host", "--file", str(STAND_INS / "Dockerfile"), "--tag",
            STAND_IN_IMAGE, "--build-arg", f"IMAGE={check_image.IMAGE}", *given, ".",
        )  # fmt: skip
        self._files.append(STAND_INS / "compose.yaml")

    def url(self, port: str) -> str:
        """Address of a published page."""
        return f"http://127.0.0.1:{self._ports[port]}"

    def run(self, *words: str) -> str:
        """What a Compose command prints; its messages end the program if it fails."""
        files = [word for one in self._files for word in ("--file", str(one))]
        done = subprocess.run(
            [*self._program, "--project-name", PROJECT, "--progress", "plain", *files, *words],
            capture_output=True, text=True, check=False, cwd=ROOT,
            env={**os.environ, **self._ports, "SECRETS": str(self._directory),
                 "MEDIA_PIPELINE_IMAGE": check_image.IMAGE},
        )  # fmt: skip
        said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        require(done.returncode == 0, f"compose {' '.join(words)}:\n{said}")
        return done.stdout

    def containers(self) -> list[dict[str, Any]]:
        """State of each, as `compose ps` has it."""
        lines = self.run("ps", "--all", "--format", "json").splitlines()
        return [json.loads(line) for line in lines if line.strip()]

    def all_healthy(self) -> bool:
        """Whether what ends has ended well and what runs is healthy."""
        found = self.containers()
        gone = [one["Service"] for one in found if one["State"] == "exited" and one["ExitCode"]]
        require(not gone, f"ended with an error: {gone}")
        running = [one for one in found if one["Service"] not in ENDING]
        unasked = [one["Service"] for one in running if one["Health"] == ""]
        require(set(unasked) <= {"otel-collector"}, f"without a health check: {unasked}")
        return all(one["Health"] in ("healthy", "") for one in running)

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait for it; a page that does not answer yet is no answer."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if holds():
                    return
            except OSError as error:
                print(f"  {what}: {error}", flush=True)
            require(time.monotonic() < ends, f"not within {PATIENCE_SECONDS} s: {what}")
            time.sleep(2)

    def logs(self, *services: str) -> str:
        """What they printed."""
        return self.run("logs", "--no-color", "--timestamps", *services)

    def keep_logs(self) -> None:
        """For who has to find out why."""
        file = self._directory / "logs.txt"
        file.write_text(self.logs())
        print(f"logs: {file}")


def require(holds: bool, otherwise: str) -> None:
    """End the check with a sentence."""
    if not holds:
        sys.exit(otherwise)


def fetched(url: str, body: bytes | None = None) -> Any:
    """A JSON document; OSError if there is none."""
    headers = {"Content-Type": "application/json"} if body else {}
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - addresses of this file
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.load(answer)


def _compose(docker: check_image.Docker) -> list[str]:
    alone = os.environ.get("COMPOSE") or shutil.which("docker-compose")
    for program in ([docker.program, "compose"], *([[alone]] if alone else [])):
        asked = subprocess.run(
            [*program, "version", "--short"], capture_output=True, text=True, check=False
        )
        major = asked.stdout.lstrip("v").partition(".")[0]
        if asked.returncode == 0 and major.isdecimal() and int(major) > 1:
            return program
    return check_image.stop("Compose is missing: Docker's plugin, or a docker-compose 2 on PATH")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
