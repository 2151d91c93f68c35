"""A Kubernetes API that runs each Job's pod as a process here: what the run launcher asks, no more.

    with LocalCluster(environment) as cluster:
        cluster.kubeconfig            # for K8sRunLauncher
        cluster.next_pod(hang=True)   # how the next pod fares
        cluster.next_pod(environment={"MEDIA_PIPELINE_CRASH_AT": "metadata_store.claim:after"})
    cluster.kill_pod(name)        # the node lost it: SIGKILL, exit code 137
        with cluster.away(): ...      # the API answers nothing

A call that is not known is refused with 404 and kept in `refused`, so that a test notices when
the launcher starts to ask for more. Jobs are as ours are: one pod, backoff limit 0.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from media_pipeline.local_stack.ports import free_port

NAMESPACE = "media"
_JOBS = "/apis/batch/v1/namespaces/{namespace}/jobs"
_PODS = "/api/v1/namespaces/{namespace}/pods"
_KILLED = 137


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass
class Pod:
    """One pod and its process. `waiting`: the reason why its container does not start;
    `reason`: why it ended, as Kubernetes says it; `environment`: added to its process's."""

    name: str
    job: dict[str, Any]
    log: Path
    waiting: str | None = None
    reason: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None
    code: int | None = None
    deleted: bool = False
    created: str = field(default_factory=_now)

    @property
    def phase(self) -> str:
        if self.code is not None:
            return "Succeeded" if self.code == 0 else "Failed"
        return "Running" if self.process else "Pending"


class LocalCluster:
    """Use as a context manager; every process that is left is killed at the end."""

    def __init__(self, environment: dict[str, str], directory: Path) -> None:
        """`environment`: what a pod would get from secrets and config maps."""
        self.pods: dict[str, Pod] = {}
        self.refused: list[str] = []
        self.kubeconfig = directory / "kubeconfig"
        self.environment = dict(environment)  # each cluster's own: tests add to it
        self._directory = directory
        self._fates: deque[dict[str, Any]] = deque()
        self._lock = threading.Lock()
        self._away = threading.Event()
        self.turned_away = 0  # Jobs that could not be made meanwhile
        self._port = free_port()
        self._server = uvicorn.Server(
            uvicorn.Config(self._app(), "127.0.0.1", self._port, log_level="warning")
        )
        self._threads = [
            threading.Thread(target=self._server.run, daemon=True),
            threading.Thread(target=self._reap, daemon=True),
        ]
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "local",
                    "contexts": [
                        {"name": "local", "context": {"cluster": "local", "user": "local"}}
                    ],
                    "clusters": [
                        {
                            "name": "local",
                            "cluster": {"server": f"http://127.0.0.1:{self._port}"},
                        }
                    ],
                    "users": [{"name": "local", "user": {}}],
                }
            )
        )
        for thread in self._threads:
            thread.start()
        while not self._server.started:
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._stop.set()
        for pod in self.pods.values():
            self._signal(pod, signal.SIGKILL)
        for thread in self._threads:
            thread.join(10)

    def next_pod(self, **fate: Any) -> None:
        """How the pod of the next Job fares, as fields of `Pod`."""
        self._fates.append(fate)

    def kill_pod(self, name: str) -> None:
        """Its node kills it with all it has started, as the kernel does when memory runs out."""
        self._signal(self.pods[name], signal.SIGKILL)

    def freeze_pod(self, name: str, *, thaw: bool = False) -> None:
        """It stands still, as if its node did; with `thaw` it goes on where it was."""
        self._signal(self.pods[name], signal.SIGCONT if thaw else signal.SIGSTOP)

    @contextmanager
    def away(self):
        """The API refuses to answer; pods go on."""
        self._away.set()
        try:
            yield
        finally:
            self._away.clear()

    # --- the API --------------------------------------------------------------------------------

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route(_JOBS, self._create_job, methods=["POST"]),
                Route(_JOBS, self._list_jobs),
                Route(_JOBS + "/{name}", self._delete_job, methods=["DELETE"]),
                Route(_JOBS + "/{name}/status", self._read_job),
                Route(_PODS, self._list_pods),
                Route(_PODS + "/{name}", self._delete_pod, methods=["DELETE"]),
                Route(_PODS + "/{name}/log", self._read_log),
                Route("/api/v1/namespaces/{namespace}/events", self._list_events),
                Route("/{path:path}", self._refuse, methods=["GET", "POST", "PUT", "PATCH"]),
            ]
        )

    def _answer(self, document: dict[str, Any], status: int = 200) -> Response:
        if self._away.is_set():
            return _status(503, "the API server is away")
        return JSONResponse(document, status)

    async def _create_job(self, request: Request) -> Response:
        if self._away.is_set():
            self.turned_away += 1
            return _status(503, "the API server is away")
        job = await request.json()
        name = job["metadata"]["name"]
        with self._lock:
            if name in self.pods and not self.pods[name].deleted:
                return _status(409, f"jobs.batch {name} already exists")
            fate = self._fates.popleft() if self._fates else {}
            pod = Pod(name, job, self._directory / f"{name}.log", **fate)
            self.pods[name] = pod
        if pod.waiting is None:
            self._run(pod)
        return JSONResponse(job, 201)

    async def _list_jobs(self, request: Request) -> Response:
        wanted = request.query_params.get("fieldSelector", "").removeprefix("metadata.name=")
        items = [_job_of(pod) for pod in self._living() if not wanted or pod.name == wanted]
        return self._answer({"kind": "JobList", "apiVersion": "batch/v1", "items": items})

    async def _read_job(self, request: Request) -> Response:
        pod = self.pods.get(request.path_params["name"])
        if pod is None or pod.deleted:
            return _status(404, "no such job")
        return self._answer(_job_of(pod))

    async def _delete_job(self, request: Request) -> Response:
        pod = self.pods.get(request.path_params["name"])
        if pod is None or pod.deleted:
            return _status(404, "no such job")
        if not self._away.is_set():
            pod.deleted = True
            self._signal(pod, signal.SIGTERM)
        return self._answer({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    async def _list_pods(self, request: Request) -> Response:
        job = request.query_params.get("labelSelector", "").removeprefix("job-name=")
        name = request.query_params.get("fieldSelector", "").removeprefix("metadata.name=")
        items = [_pod_of(pod) for pod in self._living() if pod.name in (job, name)]
        return self._answer({"kind": "PodList", "apiVersion": "v1", "items": items})

    async def _delete_pod(self, request: Request) -> Response:
        return self._answer(_pod_of(self.pods[request.path_params["name"]]))

    async def _read_log(self, request: Request) -> Response:
        lines = self.pods[request.path_params["name"]].log.read_text().splitlines()
        return PlainTextResponse("\n".join(lines[-25:]))

    async def _list_events(self, request: Request) -> Response:
        return self._answer({"kind": "EventList", "apiVersion": "v1", "items": []})

    async def _refuse(self, request: Request) -> Response:
        self.refused.append(f"{request.method} {request.url.path}")
        return _status(404, f"{request.url.path} is not known here")

    # --- the nodes ------------------------------------------------------------------------------

    def _living(self) -> list[Pod]:
        return [pod for pod in self.pods.values() if not pod.deleted]

    def _run(self, pod: Pod) -> None:
        (container,) = pod.job["spec"]["template"]["spec"]["containers"]
        given = {one["name"]: one.get("value", "") for one in container.get("env", [])}
        # The image's PATH: this environment's programs.
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        command = [*container.get("command", []), *container.get("args", [])]
        with pod.log.open("wb") as log:
            pod.process = subprocess.Popen(
                ["env", *command],  # looked for in the pod's PATH
                env={"PATH": path, **given, **self.environment, **pod.environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def _signal(self, pod: Pod, number: signal.Signals) -> None:
        if pod.process is not None and pod.code is None:
            try:
                os.killpg(pod.process.pid, number)
            except ProcessLookupError:
                return  # it has ended by itself; the reaper tells

    def _reap(self) -> None:
        while not self._stop.wait(0.05):
            for pod in list(self.pods.values()):
                if pod.process is None or pod.code is not None:
                    continue
                code = pod.process.poll()
                if code is not None:
                    pod.code = _KILLED if code == -signal.SIGKILL else abs(code)


def _status(code: int, message: str) -> Response:
    return JSONResponse(
        {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
         "message": message}, code,
    )  # fmt: skip


def _job_of(pod: Pod) -> dict[str, Any]:
    counted = {"Succeeded": "succeeded", "Failed": "failed"}.get(pod.phase, "active")
    return {**pod.job, "status": {"startTime": pod.created, counted: 1}}


def _pod_of(pod: Pod) -> dict[str, Any]:
    if pod.code is not None:
        reason = pod.reason or ("Error" if pod.code else "Completed")
        state: dict[str, Any] = {"terminated": {"exitCode": pod.code, "reason": reason}}
    elif pod.waiting:
        state = {"waiting": {"reason": pod.waiting, "message": "made up by the test"}}
    else:
        state = {"running": {"startedAt": pod.created}}
    (container,) = pod.job["spec"]["template"]["spec"]["containers"]
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": pod.name, "labels": {"job-name": pod.name}},
        "spec": pod.job["spec"]["template"]["spec"],
        "status": {
            "phase": pod.phase,
            "containerStatuses": [
                {"name": container["name"], "ready": pod.phase == "Running", "restartCount": 0,
                 "image": container["image"], "imageID": "", "state": state}
            ],
        },
    }  # fmt: skip
