"""Ports on 127.0.0.1: free ones, and the same again after a restart where possible."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Sequence
from pathlib import Path

from media_pipeline.errors import SystemicError

#: Below the kernel's ephemeral range, so that no outgoing connection takes one in between.
_RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """True when nothing listens on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listening(port: int) -> bool:
    """True when something accepts connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port(taken: Sequence[int] = ()) -> int:
    """A free port that is not in `taken`."""
    for port in random.sample(_RANGE, 200):  # not a secret: spreads concurrent stacks
        if port not in taken and is_free(port):
            return port
    raise SystemicError(
        "no free port was found between 20000 and 32000 on 127.0.0.1.",
        remedy="stop other servers on this machine.",
        code="no_free_port",
    )


def remembered_ports(file: Path, names: Sequence[str]) -> dict[str, int]:
    """A port per name: those of the last start where they are still free, others anew."""
    known: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    ports: dict[str, int] = {}
    for name in names:
        port = known.get(name)
        if port is None or not is_free(port):
            port = free_port(list(ports.values()))
        ports[name] = port
    file.write_text(json.dumps(ports, indent=1))
    return ports
