"""The sockets of one connection, and a deadline that no slow host can stretch.

httpcore limits the time of each read and write, so a host that sends a byte a second holds a thread for
hours. Here a ``Deadline`` travels with the request, as its ``timeout`` extension, down to this network
backend. It runs from the first step of a request to the last: name resolution, waiting, parsing.

Only public names of httpcore and h11 are used.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import h11
import httpcore

from cf_images.client import guard
from cf_images.client.proxies import Proxy

T = TypeVar("T")

# A TLS record; a socket that can be written to at all takes as much at once, so no write waits twice.
_WRITE_BYTES = 16 * 1024
_MAX_LOOKUPS = 32  # threads that wait for the system's resolver at a time
_lookups = threading.BoundedSemaphore(_MAX_LOOKUPS)


class Deadline(float):
    """The seconds that one attempt may take altogether, waiting and working; a stopwatch.

    It stands still while the caller reads its file, or does anything else between two chunks of a download.
    For any other transport (a test's, say) it is an ordinary timeout.
    """

    spent = 0.0
    _since: float | None = None  # when the stopwatch was last started; None while it stands still

    def left(self) -> float:
        """Return the seconds left; raise ``TimeoutException`` if there are none."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        left = self - self.spent - running
        if left <= 0:
            raise httpcore.TimeoutException("The time is up.")
        return left

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the time run; within another ``running`` this changes nothing."""
        if self._since is not None:
            yield
            return
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the time within ``running``, while the caller's code runs."""
        self._stop()
        try:
            yield
        finally:
            self._since = time.monotonic()

    def run(self, operation: Callable[[float], T]) -> T:
        """Call ``operation`` with the seconds left, which it uses up; ``TimeoutException`` if none is."""
        left = self.left()
        with self.running():
            return operation(left)

    def _stop(self) -> None:
        if self._since is not None:
            self.spent += time.monotonic() - self._since
            self._since = None


def _run(timeout: float | None, operation: Callable[[float | None], T]) -> T:
    if isinstance(timeout, Deadline):
        return timeout.run(operation)
    return operation(timeout)  # not one of this package's requests


@functools.cache
def _parsed_request(method: str) -> h11.Request:
    return h11.Request(method=method, target="/", headers=[("Host", "")])


_END_OF_MESSAGE = h11.EndOfMessage()


class _Follower:
    """Parses the same response with httpcore's own parser, to learn what httpcore does not tell: its end.

    Bytes behind the end of a response would be taken for the response to the next request.
    """

    def __init__(self, method: str) -> None:
        self.method = method
        self._parser = h11.Connection(
            h11.CLIENT, max_incomplete_event_size=httpcore.HTTP11Connection.MAX_INCOMPLETE_EVENT_SIZE
        )
        self._parser.send(_parsed_request(method))
        self._parser.send(_END_OF_MESSAGE)

    def feed(self, data: bytes) -> None:
        """Parse what was read.

        Raise for what is no HTTP before httpcore does, which would log the bytes, perhaps of a token.
        """
        try:
            self._parser.receive_data(data)
            while isinstance(self._parser.next_event(), h11.InformationalResponse | h11.Response | h11.Data):
                pass
        except h11.RemoteProtocolError:
            if data:  # otherwise the connection has ended too early, which httpcore says best
                raise httpcore.RemoteProtocolError("The response is not valid HTTP.") from None

    @property
    def is_at_end(self) -> bool:
        """Return whether the response is complete, and nothing has followed it."""
        return self._parser.their_state is h11.DONE and not self._parser.trailing_data[0]


class _TlsInTls(httpcore.NetworkStream):
    """A TLS connection inside another. httpcore's gives each part of a record the whole time anew."""

    def __init__(
        self,
        stream: httpcore.NetworkStream,
        context: ssl.SSLContext,
        hostname: str,
        timeout: float | None,
    ) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)
        try:
            self._exchange(self._tls.do_handshake, timeout)
        except ssl.SSLError as error:
            raise httpcore.ConnectError(str(error)) from error

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self._exchange(lambda: self._tls.read(max_bytes), timeout)
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            self._exchange(lambda: self._tls.write(buffer), timeout)
        except ssl.SSLError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._tls if info == "ssl_object" else self._stream.get_extra_info(info)

    def _exchange(self, operation: Callable[[], T], timeout: float | None) -> T:
        while True:
            try:
                return self._send_after(operation, timeout)
            except ssl.SSLWantReadError:
                data = _run(timeout, functools.partial(self._stream.read, _WRITE_BYTES))
                self._incoming.write(data) if data else self._incoming.write_eof()

    def _send_after(self, operation: Callable[[], T], timeout: float | None) -> T:
        try:
            return operation()
        finally:
            if data := self._outgoing.read():
                _run(timeout, functools.partial(self._stream.write, data))


class Stream(httpcore.NetworkStream):
    """A socket, plain or TLS, whose every operation runs within what the deadline has left.

    ``deadline`` is for operations that httpcore gives no timeout: those of the SOCKS handshake.
    """

    follower: _Follower | None = None  # fed with all other bytes that are read

    def __init__(
        self, stream: httpcore.NetworkStream, *, host: str = "", deadline: float | None = None
    ) -> None:
        self._stream = stream
        self._host = host
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._run(timeout, lambda left: self._stream.read(max_bytes, left))
        if self.follower is not None and timeout is not None:
            self.follower.feed(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        guard.check(self._host)  # the connection may be older than the guard
        # httpcore grants each partial write the whole time anew.
        for start in range(0, len(buffer), _WRITE_BYTES):
            chunk = buffer[start : start + _WRITE_BYTES]
            self._run(timeout, functools.partial(self._stream.write, chunk))

    def _run(self, timeout: float | None, operation: Callable[[float | None], T]) -> T:
        timeout = self._deadline if timeout is None else timeout
        if isinstance(self._stream, _TlsInTls):
            return operation(timeout)  # it waits several times
        return _run(timeout, operation)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        hostname = server_hostname or ""
        if self._stream.get_extra_info("ssl_object") is None:
            start_tls = functools.partial(self._stream.start_tls, ssl_context, hostname)
            self._stream = _run(timeout, start_tls)
        else:  # through a proxy that is reached over TLS itself
            self._stream = _TlsInTls(self._stream, ssl_context, hostname, timeout)
        if self.follower is not None:  # what was read before is a proxy's response to CONNECT
            self.follower = _Follower(self.follower.method)
        return self  # the backend closes this one

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class Backend(httpcore.SyncBackend):
    """Opens the sockets of one connection, trying one IP address of the host after the other.

    ``host`` is where the requests go in the end, perhaps through ``proxy``. ``check`` raises for an IP
    address to which no connection may be made.
    """

    def __init__(
        self, host: str, proxy: Proxy | None = None, check: Callable[[str], None] | None = None
    ) -> None:
        self._host = host
        self._proxy = proxy
        self._check = check
        self._stream: Stream | None = None
        self._method = "GET"

    def expect(self, method: str) -> None:
        """Prepare for the response to a request with ``method``, on this connection or the next."""
        self._method = method
        if self._stream is not None:
            self._stream.follower = _Follower(method)

    @property
    def is_at_end(self) -> bool:
        """Return whether the last response was read to its end, and nothing has followed it."""
        stream = self._stream
        return stream is not None and stream.follower is not None and stream.follower.is_at_end

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        guard.check(self._host)
        try:
            addresses = _run(timeout, functools.partial(_resolve, host, port))
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            _reraise(error, self._proxy)
        # All of them, or a host with one public address would tell what is at the others.
        if self._check is not None:
            for address in addresses:
                self._check(address)
        connect = super().connect_tcp

        def connect_to(address: str, left: float | None) -> httpcore.NetworkStream:
            # An address that swallows packets must not use up the time of those that respond.
            share = None if left is None else left / (1 + len(addresses))
            return connect(address, port, share, local_address, socket_options)

        while True:
            try:
                stream = _run(timeout, functools.partial(connect_to, addresses.pop(0)))
                self._stream = Stream(stream, host=self._host, deadline=timeout)
                self._stream.follower = _Follower(self._method)
                return self._stream
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                if not addresses:
                    _reraise(error, self._proxy)

    def close(self) -> None:
        """Close the socket, whatever httpcore thinks of it; takes no lock."""
        if self._stream is not None:
            self._stream.close()


def naming_proxy(error: Exception, proxy: Proxy) -> Exception:
    """Return the error with the variable that names the proxy it came from."""
    return type(error)(f"the proxy in {proxy.variable}: {error}")


def _reraise(error: Exception, proxy: Proxy | None) -> NoReturn:
    if proxy is None:
        raise error
    raise naming_proxy(error, proxy) from error


def _resolve(host: str, port: int, left: float | None) -> list[str]:
    """Return the IP addresses of a host within the time that is left.

    The system's resolver has no deadline, so a thread waits for it: a bounded number, which the resolver's
    own limits end.
    """
    if left is None or _is_address(host):
        return _addresses(host, port)
    lookups = _lookups
    results: list[list[str] | BaseException] = []

    def look_up() -> None:
        try:
            results.append(_addresses(host, port))
        except BaseException as error:  # noqa: BLE001  # raised below, in the thread that asked
            results.append(error)
        finally:
            lookups.release()

    started = time.monotonic()
    if lookups.acquire(timeout=left):
        thread = threading.Thread(target=look_up, name="cf-images-resolver", daemon=True)
        thread.start()
        thread.join(max(0.0, started + left - time.monotonic()))
    if not results:
        raise httpcore.ConnectTimeout("The name server does not respond.")
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot encode
        raise httpcore.ConnectError(str(error)) from error
    return [str(address[0]) for *_, address in found]


def _after_fork_in_child() -> None:
    global _lookups
    _lookups = threading.BoundedSemaphore(_MAX_LOOKUPS)  # no thread that would release the parent's exists


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows does not fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
