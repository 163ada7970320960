"""The connections to Cloudflare: one pool per process.

Each connection is an httpcore pool with room for one, and this module keeps the idle ones. Only the thread
that uses a connection ever takes that pool's lock, so neither garbage collection in the middle of a request
nor a fork can wait for a lock that will not be released. Only public names of httpcore are used.

A connection is used again only if nothing followed the response that was read from it.
"""

from __future__ import annotations

import atexit
import os
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable

import httpcore
import httpx

from cf_images.client.proxies import SOCKS_ERRORS, MisconfiguredError, Proxies, Proxy
from cf_images.client.streams import Backend, naming_proxy

# httpx's five seconds would reconnect between two clicks of one person.
_KEEPALIVE_SECONDS = 30.0


class Connection:
    """One connection to one origin, perhaps through a proxy; it connects anew when it has to.

    ``check`` is called with each IP address of the host before anything is sent there, and raises for one
    that is not allowed.
    """

    def __init__(
        self,
        origin: httpcore.Origin,
        *,
        proxy: Proxy | None,
        ssl_context: ssl.SSLContext | None,
        check: Callable[[str], None] | None = None,
    ) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self._backend = Backend(origin.host.decode(), proxy, check)
        self._proxy = proxy
        socks = proxy is not None and proxy.url.scheme.startswith(b"socks")
        self._proxy_errors = SOCKS_ERRORS if socks else ()
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            proxy=None if proxy is None else _core_proxy(proxy, ssl_context),
            max_connections=1,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=self._backend,
        )

    def send(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request; the response has not been read, and must be closed."""
        self._backend.expect(request.method.decode())
        problem: Exception
        try:
            return self._pool.handle_request(request)
        except self._proxy_errors as error:
            problem = httpcore.ProxyError(f"it sent an invalid reply ({type(error).__name__})")
        except httpcore.ProxyError as error:
            problem = error
        except httpcore.ConnectError as error:
            raise _naming_certificates(error) from error
        raise naming_proxy(problem, self._proxy) if self._proxy else problem

    @property
    def is_open(self) -> bool:
        """Return whether there is a connection that another request can use."""
        return bool(self._pool.connections) and self._backend.is_at_end

    def close(self) -> None:
        """Close the socket. Takes no lock, so that finalizers and forked processes may call it."""
        self._backend.close()


def _core_proxy(proxy: Proxy, ssl_context: ssl.SSLContext | None) -> httpcore.Proxy:
    context = ssl_context if proxy.url.scheme == b"https" else None
    return httpcore.Proxy(url=proxy.url, auth=proxy.auth, ssl_context=context)


class Pool:
    """The connections of a process, in use and idle; no credentials, no cookies.

    Without a lock: it only uses operations of ``dict``, ``set`` and ``deque`` that are atomic.
    """

    def __init__(self) -> None:
        self._proxies = Proxies()
        self._idle: dict[tuple[bytes, bytes, int], deque[Connection]] = {}
        self._connections: set[Connection] = set()
        self._trusted: ssl.SSLContext | None = None
        self._closed = False

    def take(self, origin: httpcore.Origin) -> Connection:
        """Return a connection that nothing else uses, the one last used if there are several.

        Raise ``MisconfiguredError`` if the environment names no usable proxy or certificates.
        """
        try:
            return self._idle_of(origin).pop()
        except IndexError:
            connection = self._connect(origin)
        self._connections.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose response has been read and closed, and close those idle for too long."""
        if self._closed or not connection.is_open:
            self.discard(connection)
            return
        connection.idle_since = time.monotonic()
        self._idle_of(connection.origin).append(connection)
        for idle in list(self._idle.values()):
            self._close_expired(idle, before=connection.idle_since - _KEEPALIVE_SECONDS)

    def discard(self, connection: Connection) -> None:
        """Close a connection that must not be used again. Takes no lock, as ``Connection.close``."""
        self._connections.discard(connection)
        connection.close()

    def close(self) -> None:
        """Close all connections, those in use as well."""
        self._closed = True
        self._idle.clear()
        for connection in list(self._connections):
            self.discard(connection)

    def _close_expired(self, idle: deque[Connection], *, before: float) -> None:
        while True:
            try:
                oldest = idle.popleft()
            except IndexError:
                return
            if oldest.idle_since >= before:
                idle.appendleft(oldest)
                return
            self.discard(oldest)

    def _idle_of(self, origin: httpcore.Origin) -> deque[Connection]:
        return self._idle.setdefault((origin.scheme, origin.host, origin.port), deque())

    def _connect(self, origin: httpcore.Origin) -> Connection:
        scheme, host = origin.scheme.decode(), origin.host.decode()
        proxy = self._proxies.find(scheme=scheme, host=host, port=origin.port)
        needs_tls = origin.scheme == b"https" or (proxy is not None and proxy.url.scheme == b"https")
        return Connection(origin, proxy=proxy, ssl_context=self._ssl_context() if needs_tls else None)

    def connect_directly(self, origin: httpcore.Origin, check: Callable[[str], None]) -> Connection:
        """Return a new connection without a proxy, to addresses that ``check`` allows; never kept."""
        context = self._ssl_context() if origin.scheme == b"https" else None
        connection = Connection(origin, proxy=None, ssl_context=context, check=check)
        self._connections.add(connection)
        return connection

    def _ssl_context(self) -> ssl.SSLContext:
        """Return the certificates to trust: of ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` if set, else certifi's.

        Read once, since that takes longer than a request.
        """
        if self._trusted is None:
            self._trusted = _trusted_certificates()
        return self._trusted


def _trusted_certificates() -> ssl.SSLContext:
    name = _certificates_variable()
    if name == "SSL_CERT_DIR" and not any(map(os.path.isdir, os.environ[name].split(os.pathsep))):
        # OpenSSL takes it for a folder without certificates, and the cause would be hard to find.
        raise MisconfiguredError(f"{name} names no usable certificates: No such folder.")
    try:
        return httpx.create_ssl_context()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; ValueError: a NUL in the name
        problem = getattr(error, "strerror", None) or str(error)
        key_log = os.environ.get("SSLKEYLOGFILE")
        if key_log and getattr(error, "filename", None) == key_log:
            problem = f"The file in SSLKEYLOGFILE cannot be written: {problem}."
        else:
            problem = f"{name or 'The package certifi'} names no usable certificates: {problem}."
    raise MisconfiguredError(problem)


def _naming_certificates(error: httpcore.ConnectError) -> httpcore.ConnectError:
    """Return the error with the variable that names the certificates, if it is about one."""
    variable = _certificates_variable()
    is_about_one = "CERTIFICATE_VERIFY_FAILED" in str(error)
    certificates = f", with the certificates of {variable}" if variable and is_about_one else ""
    return httpcore.ConnectError(f"{error}{certificates}")


def _certificates_variable() -> str:
    """Return the variable that names the certificates to trust, in httpx's order; empty: certifi's."""
    return next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), "")


_pool: Pool | None = None
_lock = threading.Lock()


def process_pool() -> Pool:
    """Return the pool of this process, made at its first request; the proxy variables are read then."""
    global _pool
    pool = _pool
    if pool is not None:
        return pool
    with _lock:
        if _pool is None:
            _pool = Pool()
        return _pool


def close() -> None:
    """Close all connections; the next request opens new ones."""
    global _pool
    with _lock:
        pool, _pool = _pool, None
    if pool is not None:
        pool.close()


def _after_fork_in_child() -> None:
    """Leave the parent's connections: if two processes read from one, each gets the other's responses.

    Their sockets are closed in this process only, without any lock: the parent goes on using them, and no
    thread that would release a lock exists here.
    """
    global _pool, _lock
    _lock = threading.Lock()  # another thread of the parent may have held it
    pool, _pool = _pool, None
    if pool is not None:
        pool.close()


atexit.register(close)
if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows does not fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
