"""The connections to Cloudflare: one pool per process, and a deadline that no slow host can stretch.

httpx limits the time of each read and write, so a host that sends a byte a second holds a thread for
hours. Here a ``Deadline`` travels with the request, as httpx's ``timeout`` extension, down to httpcore's
network backend, and every wait on the network uses it up. The one wait that it cannot cut short is the
system's name resolution.
"""

from __future__ import annotations

import atexit
import os
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx
from httpx._utils import get_environment_proxies  # httpx's own reading of HTTPS_PROXY and NO_PROXY

# httpx's five seconds would reconnect between two clicks of one person.
_KEEPALIVE_SECONDS = 30.0
# A TLS record; a socket that can be written to at all takes as much at once, so no write waits twice.
_WRITE_BYTES = 16 * 1024


class Deadline(float):
    """The seconds that one attempt may wait on the network altogether; the caller's pauses do not count.

    For any other transport (a test's, say) it is an ordinary timeout.
    """

    spent = 0.0

    @contextmanager
    def running(self) -> Iterator[float]:
        """Seconds left for one operation, which then are used up; none left is a ``TimeoutException``."""
        left = self - self.spent
        if left <= 0:
            raise httpcore.TimeoutException("The time is up.")
        began = time.monotonic()
        try:
            yield left
        finally:
            self.spent += time.monotonic() - began


@contextmanager
def _running(timeout: float | None) -> Iterator[float | None]:
    if not isinstance(timeout, Deadline):  # an operation of httpcore's own, none of our requests
        yield timeout
        return
    with timeout.running() as left:
        yield left


class _DeadlineStream(httpcore.NetworkStream):
    """A socket, plain or TLS, whose every operation runs within what the deadline has left."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _running(timeout) as left:
            return self._stream.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # httpcore grants each partial write the whole time anew.
        for start in range(0, len(buffer), _WRITE_BYTES):
            with _running(timeout) as left:
                self._stream.write(buffer[start : start + _WRITE_BYTES], left)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        with _running(timeout) as left:
            return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _DeadlineBackend(httpcore.SyncBackend):
    """Opens sockets that keep the deadline, one address of the host after the other."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        with _running(timeout):
            addresses = _addresses(host, port)
        while True:
            address = addresses.pop(0)
            try:
                with _running(timeout) as left:
                    # An address that swallows packets must not use up the time of those that answer.
                    share = None if left is None else left / (1 + len(addresses))
                    stream = super().connect_tcp(address, port, share, local_address, socket_options)
                    return _DeadlineStream(stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not addresses:
                    raise


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot encode
        raise httpcore.ConnectError(str(error)) from error
    return [str(address[0]) for *_, address in found]


class _DeadlineTransport(httpx.HTTPTransport):
    """httpx's transport (so that tools which patch it find it) over a pool with our sockets."""

    def __init__(self, ssl_context: ssl.SSLContext, proxy: httpx.Proxy | None = None) -> None:
        # Not super().__init__(): all it does is to build the pool that it takes no backend for.
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            proxy=None if proxy is None else _core_proxy(proxy),
            # One for each thread that is talking: nobody waits, none is closed while it could be reused.
            max_connections=None,
            max_keepalive_connections=None,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=_DeadlineBackend(),
        )

    def abandon(self) -> None:
        """Close the sockets of a parent process, where they stay open."""
        for connection in self._pool.connections:
            connection.close()
        # Another thread of the parent may have held it.
        self._pool._optional_thread_lock = type(self._pool._optional_thread_lock)()  # noqa: SLF001


def _core_proxy(proxy: httpx.Proxy) -> httpcore.Proxy:
    return httpcore.Proxy(url=str(proxy.url), auth=proxy.raw_auth, ssl_context=proxy.ssl_context)


class ProcessClient(httpx.Client):
    """The one HTTP client of a process: connections and proxies, no credentials, no cookies."""

    def __init__(self) -> None:
        ssl_context = httpx.create_ssl_context()
        direct = _DeadlineTransport(ssl_context)
        mounts = {
            pattern: None if url is None else _DeadlineTransport(ssl_context, httpx.Proxy(url))
            for pattern, url in get_environment_proxies().items()
        }
        super().__init__(transport=direct, mounts=mounts)
        self._transports = [direct, *filter(None, mounts.values())]
        self._streams: dict[httpx.Response, Iterator[bytes]] = {}
        self._dropped: deque[httpx.Response] = deque()

    # The garbage collector may run at any moment, also while this thread holds the pool's lock, which an
    # answer takes when it ends half read. So the client holds such answers, and ends them itself.

    def chunks(self, response: httpx.Response) -> Iterator[bytes]:
        """The chunks of an answer, which must be given back with ``release`` or ``drop``."""
        chunks = self._streams[response] = response.iter_bytes()
        return chunks

    def release(self, response: httpx.Response) -> None:
        """An answer has been read to its end."""
        self._streams.pop(response, None)

    def drop(self, response: httpx.Response) -> None:
        """Close the socket of an answer half read; the pool learns of it before the next request."""
        stream = response.extensions.get("network_stream")
        if stream is not None:
            stream.close()
        self._dropped.append(response)

    def tidy(self) -> None:
        """Take the connections of dropped answers out of the pool."""
        try:
            while True:
                response = self._dropped.popleft()
                response.close()
                self.release(response)
        except IndexError:  # none left; asking first would race with other threads
            pass

    def abandon(self) -> None:
        """Let go of connections that belong to the parent process."""
        for transport in self._transports:
            transport.abandon()


_client: ProcessClient | None = None
_lock = threading.Lock()


def process_client() -> ProcessClient:
    """The client of this process, made at its first request; the proxy variables are read then."""
    global _client
    with _lock:
        if _client is None:
            _client = ProcessClient()
        return _client


def close() -> None:
    """Close all connections; the next request opens new ones."""
    global _client
    with _lock:
        client, _client = _client, None
    if client is not None:
        client.close()


def _after_fork_in_child() -> None:
    """A connection that two processes read from gives one of them the other's answers."""
    global _client, _lock
    _lock = threading.Lock()  # another thread of the parent may have held it
    client, _client = _client, None
    if client is not None:
        client.abandon()


atexit.register(close)
if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows does not fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
