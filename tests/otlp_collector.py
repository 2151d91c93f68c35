"""An OTLP endpoint that keeps what it is sent."""

import gzip
import http.server
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from tests.http_servers import start_serving


class Collector(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent; `status` is what it answers."""

    def do_POST(self):
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        told = ExportTraceServiceRequest.FromString(body)
        self.server.texts.append(str(told))
        for group in told.resource_spans:
            for scope in group.scope_spans:
                self.server.spans += scope.spans
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()

    def log_message(self, *_):
        """Quiet."""


@contextmanager
def running_collector() -> Iterator[http.server.ThreadingHTTPServer]:
    """`spans` are those received, `texts` all that was told with them, as text; `asked` is (path,
    Authorization) of each request."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.spans, server.asked, server.status = [], [], 200
    server.texts, server.location = [], None
    thread = start_serving(server)
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def by_trace(found):
    """{trace id: {name: span}}; of spans with the same name the last."""
    traces = defaultdict(dict)
    for span in found:
        traces[span.trace_id.hex()][span.name] = span
    return traces


def attributes(span):
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}
