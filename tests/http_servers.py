"""Servers of the standard library in a thread of a test."""

import threading
from socketserver import BaseServer


def start_serving(server: BaseServer) -> threading.Thread:
    """Until `shutdown`, which it notices at once: it looks every half second if it is not told
    otherwise, and that would be most of what such a test takes."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    return thread
