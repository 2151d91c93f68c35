"""What every object store must do: in memory and on a real S3 server."""

import hashlib
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from media_pipeline.domain.media_asset import SourceObject
from media_pipeline.errors import PermanentError, SystemicError, TransientError
from media_pipeline.settings import ObjectStoreSettings, Settings
from resources.credentials import SettingsCredentials
from resources.object_store import S3ObjectStore
from tests.fakes.object_store import FakeObjectStore
from tests.http_servers import start_serving

DATA = b"twelve bytes"
LIMIT = 1000


def s3(endpoint: str, access: str, secret: str, **more) -> S3ObjectStore:
    settings = ObjectStoreSettings(
        endpoint=endpoint, secure=False, access_key=access, secret_key=secret,
        allowed_buckets=("media", "not-there"), **more,
    )  # fmt: skip
    return S3ObjectStore(settings, SettingsCredentials(Settings(object_store=settings)))


@pytest.fixture(params=["fake", "s3"])
def store(request):
    if request.param == "fake":
        return FakeObjectStore(("media", "not-there"), missing_buckets=["not-there"])
    stack = request.getfixturevalue("stack")
    return s3(stack.s3_endpoint, stack.s3_access_key, stack.s3_secret_key)


@pytest.fixture
def source(store):
    key = f"in/{uuid.uuid4().hex}/ä ö+%.png"
    store.upload("media", key, DATA, "image/png")
    return lambda **claims: SourceObject("media", key, **claims)


def fetch_error(store, source, tmp_path, kind=PermanentError):
    with pytest.raises(kind) as caught:
        store.fetch(source, tmp_path / "f", max_bytes=LIMIT)
    assert list(tmp_path.iterdir()) == [], "a refused object must leave no file"
    return caught.value.code


def test_a_fetched_object_is_whole_and_described(store, source, tmp_path):
    digest = hashlib.sha256(DATA).hexdigest()
    etag = hashlib.md5(DATA).hexdigest()  # noqa: S324
    claims = source(sha256=digest, etag=etag, size_bytes=12)
    found = store.fetch(claims, tmp_path / "f", max_bytes=LIMIT)
    assert found.path.read_bytes() == DATA
    assert (found.digest, found.size_bytes, found.etag) == (digest, 12, etag)
    assert found.content_type == "image/png"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("claim", [{"etag": "0" * 32}, {"sha256": "0" * 64}, {"size_bytes": 11}])
def test_another_object_than_announced(store, source, tmp_path, claim):
    assert fetch_error(store, source(**claim), tmp_path) == "object_changed"


def test_a_missing_object(store, tmp_path):
    assert fetch_error(store, SourceObject("media", "in/nothing"), tmp_path) == "object_missing"


def test_an_empty_object(store, tmp_path):
    store.upload("media", "in/empty", b"", None)
    assert fetch_error(store, SourceObject("media", "in/empty"), tmp_path) == "empty"


def test_a_too_large_object(store, tmp_path):
    store.upload("media", "in/large", b"x" * (LIMIT + 1), None)
    assert fetch_error(store, SourceObject("media", "in/large"), tmp_path) == "too_large"


def test_a_bucket_that_is_not_allowed(store, tmp_path):
    assert fetch_error(store, SourceObject("secrets", "k"), tmp_path) == "bucket_not_allowed"
    with pytest.raises(PermanentError):
        store.upload("secrets", "k", b"x", None)


def test_a_missing_bucket_is_systemic(store, tmp_path):
    source = SourceObject("not-there", "k")
    assert fetch_error(store, source, tmp_path, SystemicError) == "bucket_missing"
    with pytest.raises(SystemicError):
        store.probe()


def test_put_get_list_and_put_again(store):
    prefix = f"derived/{uuid.uuid4().hex}/"
    for name in ("b", "a", "a"):
        store.put(f"{prefix}{name}", name.encode(), "text/plain")
    assert store.list_keys(prefix) == [f"{prefix}a", f"{prefix}b"]
    assert store.get(f"{prefix}a") == b"a"
    with pytest.raises(PermanentError) as caught:
        store.get(f"{prefix}c")
    assert caught.value.code == "object_missing"


def test_objects_page_by_page_and_which_are_there(store):
    prefix = f"listed/{uuid.uuid4().hex}/"
    keys = [f"{prefix}{name}" for name in ("a", "a-b", "a/b", "b", "ä")]
    before = time.time()
    for key in keys:
        store.put(key, b"x", "text/plain")
    seen, after = [], None
    while page := store.list_objects(prefix, after, 2):
        assert len(page) <= 2
        assert all(before - 2 <= one.modified <= time.time() + 2 for one in page)
        seen += [one.object_key for one in page]
        after = page[-1].object_key
    assert sorted(seen) == sorted(keys), "each once"
    assert store.present([*keys, f"{prefix}none"]) == set(keys)
    assert store.present([]) == set()


def test_many_threads_at_once(store, source, tmp_path):
    with ThreadPoolExecutor(8) as threads:
        found = list(
            threads.map(
                lambda n: store.fetch(source(), tmp_path / str(n), max_bytes=LIMIT), range(40)
            )
        )
    assert {one.path.read_bytes() for one in found} == {DATA}


def test_links_are_quoted_and_carry_no_secret(store):
    link = store.link("derived/a b/<script>?x=1#y")
    assert link.endswith("/derived/a%20b/%3Cscript%3E%3Fx%3D1%23y")
    assert "?" not in link


# --- the real one alone -----------------------------------------------------------------------


def test_wrong_keys_are_systemic(stack, tmp_path):
    store = s3(stack.s3_endpoint, stack.s3_access_key, "wrong")
    source = SourceObject("media", "in/nothing")
    assert fetch_error(store, source, tmp_path, SystemicError) == "credentials_refused"


def test_a_200_mb_object_is_refused_by_its_length_alone(tmp_path):
    sent = []
    with http_server(200 * 1024 * 1024, b"x" * 10_000, sent) as endpoint:
        store = s3(endpoint, "a", "b")
        assert fetch_error(store, SourceObject("media", "k"), tmp_path) == "too_large"
    assert len(sent) == 1


def test_an_object_cut_off_midway_is_tried_again_then_transient(tmp_path, monkeypatch):
    monkeypatch.setattr("resources.retries.time.sleep", lambda _: None)
    monkeypatch.setattr("resources.retries._FIRST_PAUSE", 0.0)
    sent = []
    with http_server(500, b"x" * 100, sent) as endpoint:
        code = fetch_error(
            s3(endpoint, "a", "b"), SourceObject("media", "k"), tmp_path, TransientError
        )
    assert code in ("object_cut_off", "object_store_unavailable")
    assert len(sent) == 4


class http_server:  # noqa: N801  # used like a function
    """Claims `length` bytes, sends `body`, closes."""

    def __init__(self, length: int, body: bytes, sent: list) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sent.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(length))
                self.send_header("ETag", '"e"')
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        start_serving(self._server)
        return f"127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
