"""No server sends us elsewhere: a redirect is refused, and what we would have sent along stays.

Nothing in a message names a host, so the only way to make us ask one is an answer of a server
that we ask already.
"""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from media_pipeline.domain.media_asset import SourceObject
from media_pipeline.errors import MediaPipelineError
from media_pipeline.settings import (
    LedgerSettings,
    ObjectStoreSettings,
    Settings,
    VaultSettings,
)
from resources.credentials import SettingsCredentials, StoredCredentials
from resources.credentials.object_store_sts import assume_role
from resources.object_store import S3ObjectStore
from resources.postgrest_client import PostgrestClient
from tests.http_servers import start_serving


class Server:
    """Remembers what it was asked; answers with a redirect to `elsewhere`, or 200."""

    def __init__(self, status=200, elsewhere=""):
        asked = self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(status)
                if elsewhere:
                    self.send_header("Location", elsewhere)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815  # http.server's names

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        start_serving(self._server)
        self.host = f"127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def inside():
    """What an attacker would like us to ask: a metadata service, an admin port."""
    server = Server()
    yield server
    server.close()


@pytest.fixture(params=[301, 302, 307, 308])
def server(request, inside):
    server = Server(request.param, f"http://{inside.host}/latest/meta-data")
    yield server
    server.close()


def s3(host):
    settings = ObjectStoreSettings(endpoint=host, secure=False, access_key="a", secret_key="b")
    return S3ObjectStore(settings, SettingsCredentials(Settings(object_store=settings)))


def fetch(host, scratch):
    s3(host).fetch(SourceObject("media", "k"), scratch / "f", max_bytes=10)


def put(host, scratch):
    s3(host).put("k", b"x", "text/plain")


def ledger(host, scratch):
    credentials = SettingsCredentials(Settings(ledger=LedgerSettings(token="t")))
    PostgrestClient(f"http://{host}", credentials, schema="media").call("counts", {})


def vault(host, scratch):
    StoredCredentials(VaultSettings(address=f"http://{host}", token="t")).secret("x")


def sts(host, scratch):
    assume_role(ObjectStoreSettings(endpoint=host, secure=False), "token")


@pytest.mark.parametrize("ask", [fetch, put, ledger, vault, sts])
def test_a_redirect_leads_nowhere(server, inside, ask, tmp_path, monkeypatch):
    monkeypatch.setattr("resources.retries._FIRST_PAUSE", 0.0)
    with pytest.raises(MediaPipelineError):
        ask(server.host, tmp_path)
    assert server.asked
    assert inside.asked == []


@pytest.mark.parametrize(
    "key",
    ["http://169.254.169.254/latest", "//inside/x", "@inside:80/x", "x?versionId=1#y", "%2e%2e/x"],
)
def test_a_key_is_a_path_whatever_it_looks_like(inside, key, tmp_path, monkeypatch):
    """The contract refuses some of these; the adapter makes no host out of any."""
    monkeypatch.setattr("resources.retries._FIRST_PAUSE", 0.0)
    with pytest.raises(MediaPipelineError):
        s3(inside.host).fetch(SourceObject("media", key), tmp_path / "f", max_bytes=10)
    assert inside.asked
    for path in inside.asked:
        assert path.startswith("/media/")
        assert "?" not in path
        assert "#" not in path
