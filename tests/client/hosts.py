"""Small TCP servers that behave as badly as a test wants."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
Behavior = Callable[["Host", socket.socket], None]


class Host:
    """A server on loopback; each connection gets a thread that runs ``behavior``.

    ``requests`` are the requests read so far, ``connections`` counts all, ``peak`` the most at a time.
    """

    def __init__(self, behavior: Behavior, context: ssl.SSLContext | None = None) -> None:
        self.behavior = behavior
        self.context = context
        self.requests: list[bytes] = []
        self.connections = 0
        self.open = 0
        self.peak = 0
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://localhost:{self.port}"
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                self.open += 1
                self.peak = max(self.peak, self.open)
                self._sockets.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection if self.context is None else self._with_tls(connection) as stream:
                self.behavior(self, stream)
        except OSError:
            pass  # the client hung up
        finally:
            connection.close()
            with self._lock:
                self.open -= 1
                self._sockets.discard(connection)

    def _with_tls(self, connection: socket.socket) -> socket.socket:
        assert self.context is not None
        return self.context.wrap_socket(connection, server_side=True)

    def read(self, connection: socket.socket) -> bytes:
        """The next request of a connection, noted; ``b""`` when there is none."""
        request = read_request(connection)
        if request:
            with self._lock:
                self.requests.append(request)
        return request

    def close(self) -> None:
        self.closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            sockets = list(self._sockets)
        for connection in sockets:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(10)


@contextmanager
def host(behavior: Behavior, context: ssl.SSLContext | None = None) -> Iterator[Host]:
    server = Host(behavior, context)
    try:
        yield server
    finally:
        server.close()


def read_request(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(65536)
        if not data:
            return b""
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(dict(header_lines(head)).get(b"content-length", b"0"))
    while len(body) < length:
        data = connection.recv(65536)
        if not data:
            return b""
        body += data
    return head + b"\r\n\r\n" + body


def header_lines(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        yield name.strip().lower(), value.strip()


def success(result: Any) -> bytes:
    """A response of the API: HTTP 200 and the envelope."""
    return response(200, json.dumps({"success": True, "errors": [], "messages": [], "result": result}))


def failure(status: int, code: int, message: str = "no") -> bytes:
    errors = [{"code": code, "message": message}]
    return response(status, json.dumps({"success": False, "errors": errors, "result": None}))


def response(status: int, body: str | bytes, content_type: str = "application/json", **headers: str) -> bytes:
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Because", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def responding(*responses: bytes) -> Behavior:
    """Send the responses in turn, the last one for all further ones; connections are kept."""
    waiting = list(responses)

    def behave(server: Host, connection: socket.socket) -> None:
        while server.read(connection):
            connection.sendall(waiting.pop(0) if len(waiting) > 1 else waiting[0])

    return behave


def trickling(data: bytes, *, at_once: int = 0) -> Behavior:
    """Send ``at_once`` bytes of the response, then one every twentieth of a second."""

    def behave(server: Host, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(data[:at_once])
        for byte in data[at_once:]:
            if server.closing.wait(0.05):
                return
            connection.sendall(bytes([byte]))

    return behave


def silent(server: Host, connection: socket.socket) -> None:
    """Take the connection and nothing more."""
    server.closing.wait()


def reset(connection: socket.socket) -> None:
    """Close with a TCP reset instead of the usual end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()


def dead_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
