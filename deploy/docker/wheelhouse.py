"""A folder of wheels as the package index that pip asks through a proxy.

A build cannot see folders of this machine, but every build takes a proxy. So pip in it is told of
an index at a name that nobody has, and the proxy is this: whatever name is asked for, it answers.
"""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, unquote, urlsplit

#: What pip is configured with; .invalid is reserved for names that never exist.
INDEX = "http://wheelhouse.invalid/simple/"


class Wheelhouse:
    """Serves `folder` on the loopback address while it is entered; gives the proxy's address."""

    def __init__(self, folder: Path) -> None:
        files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Answer, files))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def project_of(file: str) -> str:
    """Normalised name of the project that a wheel or source archive is of."""
    name = file.partition("-")[0] if file.endswith(".whl") else file.rpartition("-")[0]
    return re.sub(r"[-_.]+", "-", name).lower()


class _Answer(BaseHTTPRequestHandler):
    """PEP 503: a page of links for each project; the files themselves."""

    protocol_version = "HTTP/1.1"

    def __init__(self, files: Mapping[str, Path], *inherited: object) -> None:
        self._files = files
        super().__init__(*inherited)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        kind, _, name = unquote(urlsplit(self.path).path).strip("/").rpartition("/")
        if kind == "files" and name in self._files:
            self._send(200, self._files[name].read_bytes(), "application/octet-stream")
        elif kind == "simple":
            found = [one for one in self._files if project_of(one) == name]
            links = [f'<a href="/files/{quote(one)}">{html.escape(one)}</a>' for one in found]
            self._send(200 if found else 404, "\n".join(links).encode(), "text/html")
        else:
            self._send(404, b"", "text/plain")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""
