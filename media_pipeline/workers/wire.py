"""Frames between pool and worker: a JSON header and raw blobs, over a stream socket.

Not pickle: a worker that decoded a hostile file is not to be trusted with the run process.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

from media_pipeline.domain.outcome import Artifact, Code, ProcessorResult

_LENGTHS = struct.Struct("!II")
_BLOB = struct.Struct("!Q")
#: A worker gone wrong must not make the pool allocate what it likes.
_MAX_HEADER = 16 * 1024 * 1024
_MAX_BLOB = 512 * 1024 * 1024
_MAX_BLOBS = 1000
_CHUNK = 1024 * 1024


class BrokenFrameError(ConnectionError):
    """The other side closed or sent nonsense."""


def send(sock: socket.socket, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Write one frame; OSError when the other side is gone."""
    packed = json.dumps(header, separators=(",", ":")).encode()
    parts = [_LENGTHS.pack(len(packed), len(blobs)), packed]
    for blob in blobs:
        parts += [_BLOB.pack(len(blob)), blob]
    sock.sendall(b"".join(parts))


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[bytes]]:
    """Read one frame; BrokenFrameError when it is cut off or none."""
    header_size, count = _LENGTHS.unpack(_exactly(sock, _LENGTHS.size))
    if header_size > _MAX_HEADER or count > _MAX_BLOBS:
        raise BrokenFrameError("a frame with impossible sizes")
    raw = _exactly(sock, header_size)
    blobs = []
    for _ in range(count):
        (size,) = _BLOB.unpack(_exactly(sock, _BLOB.size))
        if size > _MAX_BLOB:
            raise BrokenFrameError("a blob of impossible size")
        blobs.append(_exactly(sock, size))
    try:
        header = json.loads(raw)
    except ValueError as error:
        raise BrokenFrameError("a header that is not JSON") from error
    if not isinstance(header, dict):
        raise BrokenFrameError("a header that is no object")
    return header, blobs


def send_task(sock: socket.socket, header: dict[str, Any], file: int | bytes) -> None:
    """A task with its file: as a descriptor, so that the worker needs no path, or as bytes."""
    if isinstance(file, bytes):
        sock.sendall(b"\0")
        send(sock, header, [file])
        return
    # The descriptor travels with the first byte: a stream may cut what follows anywhere.
    socket.send_fds(sock, [b"\1"], [file])
    send(sock, header)


def receive_task(sock: socket.socket) -> tuple[dict[str, Any], list[bytes], int | None]:
    """The inverse of `send_task`; BrokenFrameError when the pool has closed its end."""
    mark, descriptors, _, _ = socket.recv_fds(sock, 1, 1)
    if not mark:
        raise BrokenFrameError("the pool has closed its end")
    header, blobs = receive(sock)
    return header, blobs, descriptors[0] if descriptors else None


def send_result(sock: socket.socket, result: ProcessorResult) -> None:
    """A processor's result as one frame; the preview travels as the last blob."""
    header = {
        "code": str(result.code),
        "message": result.message,
        "attributes": dict(result.attributes),
        "seconds": result.seconds,
        "artifacts": [[part.name, part.content_type] for part in result.artifacts],
        "preview": result.preview is not None,
    }
    blobs = [part.data for part in result.artifacts]
    send(sock, header, [*blobs, result.preview] if result.preview is not None else blobs)


def receive_result(sock: socket.socket) -> ProcessorResult:
    """The inverse of `send_result`; BrokenFrameError for anything that is no result."""
    header, blobs = receive(sock)
    try:
        names = header["artifacts"]
        preview = blobs.pop() if header["preview"] else None
        return ProcessorResult(
            code=Code(header["code"]),
            message=str(header["message"]),
            artifacts=tuple(
                Artifact(str(name), str(content_type), blob)
                for (name, content_type), blob in zip(names, blobs, strict=True)
            ),
            attributes=dict(header["attributes"]),
            preview=preview,
            seconds=float(header["seconds"]),
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise BrokenFrameError(f"not a result: {error!r}") from error


def _exactly(sock: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = sock.recv(min(_CHUNK, size - len(received)))
        if not chunk:
            raise BrokenFrameError("the other side closed in the middle of a frame")
        received += chunk
    return bytes(received)
