"""The exporter's HTTP side: /metrics for Prometheus, /healthz for whoever restarts it."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from media_pipeline.domain.redaction import redact
from media_pipeline.errors import MediaPipelineError, SystemicError

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

_REQUEST_SECONDS = 30
_PAGE_HEADERS = [
    ("Content-Type", "text/html; charset=utf-8"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Cache-Control", "no-store"),
]
Start = Callable[..., Any]
#: Path -> (status, HTML), None for a path that is not one of its pages.
Pages = Callable[[str], tuple[int, str] | None]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]


class _Handler(WSGIRequestHandler):
    """Says nothing on stderr, and gives up on a client that sends nothing."""

    timeout = _REQUEST_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name upstream
        """Scrapes are no news."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """As upstream without the look-up of this host's name, which can take seconds."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


def application(collector: Collector, token: str | None, pages: Pages | None = None) -> Application:
    """WSGI. `pages`: read-only pages for people, behind the same token.

    /healthz says that this process answers; what it depends on is in the metrics, or a broken
    dependency would have the exporter restarted.
    """
    from prometheus_client import CollectorRegistry, make_wsgi_app

    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    metrics: Application = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            return _say(start, "405 Method Not Allowed", "only GET")
        if path == "/healthz":
            return _say(start, "200 OK", "ok")
        if token is not None and not _authorized(environ, token):
            return _say(
                start,
                "401 Unauthorized",
                "a bearer token is needed",
                ("WWW-Authenticate", "Bearer"),
            )
        if path == "/metrics":
            return metrics(environ, start)
        return _page(start, pages, path)

    return app


def _page(start: Start, pages: Pages | None, path: str) -> Iterable[bytes]:
    try:
        found = pages(path) if pages else None
    except MediaPipelineError as error:
        return _say(start, "503 Service Unavailable", redact(str(error)))
    if found is None:
        return _say(start, "404 Not Found", "/metrics or /healthz")
    status, document = found
    start(f"{status} {HTTPStatus(status).phrase}", list(_PAGE_HEADERS))
    return [document.encode()]


def _authorized(environ: dict[str, Any], token: str) -> bool:
    given = environ.get("HTTP_AUTHORIZATION", "").encode("utf-8", "surrogateescape")
    return hmac.compare_digest(given, f"Bearer {token}".encode())


def _say(start: Start, status: str, text: str, *headers: tuple[str, str]) -> Iterable[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8"), *headers])
    return [f"{text}\n".encode()]


def serve(
    collector: Collector, host: str, port: int, token: str | None, pages: Pages | None = None
) -> WSGIServer:
    """A bound server; `serve_forever` runs it, `server_port` is what port 0 became.

    SystemicError `exporter_unprotected` for a host that others reach without a token, and
    `exporter_port` when the address cannot be had.
    """
    if token is None and not _is_loopback(host):
        raise SystemicError(
            f"the exporter would be open to everybody who reaches {host}.",
            remedy="set MEDIA_PIPELINE_TELEMETRY__EXPORTER_TOKEN, or listen on 127.0.0.1.",
            code="exporter_unprotected",
        )
    try:
        return make_server(
            host,
            port,
            application(collector, token, pages),
            server_class=_Server,
            handler_class=_Handler,
        )
    except OSError as error:
        raise SystemicError(
            f"the exporter cannot listen on {host}:{port}: {error}",
            remedy="choose another port with --port or MEDIA_PIPELINE_TELEMETRY__EXPORTER_PORT.",
            code="exporter_port",
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
