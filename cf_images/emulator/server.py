"""The HTTP/1.1 server: one thread for each connection, which stays open until the client closes it.

Werkzeug's development server closes the connection after every response, so that tests could not see whether
a client reuses its connections.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from werkzeug.exceptions import ClientDisconnected
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wsgi import LimitedStream

from cf_images.emulator.access import Account
from cf_images.emulator.app import App, LoggedRequest
from cf_images.emulator.errors import UPLOAD_TIMED_OUT, ApiError
from cf_images.emulator.faults import Faults, HangUpError
from cf_images.emulator.images import Kept
from cf_images.emulator.limits import Limits

ACCOUNT_ID = "0123456789abcdef0123456789abcdef"
API_TOKEN = "emulator-token-0123456789-0123456789-abc"  # noqa: S105 - valid only for an emulator
ACCOUNT_HASH = "Emu1atorAccountHash_22"
IDLE_SECONDS = 300
DRAIN_BYTES = 128 * 1024 * 1024
DRAIN_CHUNK = 64 * 1024


class Body(LimitedStream):
    """A request body of ``length`` bytes that must arrive within ``seconds``."""

    def __init__(self, stream: IO[bytes], *, length: int, seconds: float) -> None:
        super().__init__(stream, length)
        self._seconds = seconds
        self._deadline: float | None = None

    def readinto(self, b: Any) -> int | None:
        """Read the available bytes; raise :class:`ApiError` with 5408 after the deadline."""
        self._deadline = self._deadline or time.monotonic() + self._seconds
        if time.monotonic() > self._deadline:
            raise ApiError(UPLOAD_TIMED_OUT)
        return super().readinto(b)

    def on_disconnect(self, error: Exception | None = None) -> None:
        """Raise :class:`ApiError` with 5408 for a timeout, else ``ClientDisconnected``."""
        if isinstance(error, TimeoutError):
            raise ApiError(UPLOAD_TIMED_OUT) from error
        raise ClientDisconnected


class Handler(WSGIRequestHandler):
    """One connection and its requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = DRAIN_CHUNK  # send head and body in one packet
    timeout = IDLE_SECONDS
    server: Server

    def setup(self) -> None:
        """Count the connection."""
        super().setup()
        self.server.connected(self.connection)

    def finish(self) -> None:
        """Unregister the connection."""
        self.server.disconnected(self.connection)
        try:
            super().finish()
        except OSError:  # the client closed the connection before all was sent
            self.rfile.close()

    def version_string(self) -> str:
        """Return the header ``Server``."""
        return "cf-images-emulator"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do nothing: the application logs requests."""

    def handle_expect_100(self) -> bool:
        """Send ``100 Continue`` at once, not together with the response."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def run_wsgi(self) -> None:
        """Process one request."""
        environ = self.make_environ()
        body = environ["wsgi.input"] = self._body(environ)
        environ["wsgi.input_terminated"] = True
        self.connection.settimeout(self.server.app.limits.upload_seconds)
        try:
            self._serve(environ, body)
        except HangUpError as error:
            self._hang_up(reset=error.reset)
        except OSError:  # the client closed the connection
            self.close_connection = True
        else:
            self.connection.settimeout(IDLE_SECONDS)

    def _body(self, environ: dict[str, Any]) -> IO[bytes]:
        if "wsgi.input_terminated" in environ:  # chunked
            return cast("IO[bytes]", environ["wsgi.input"])
        length = environ.get("CONTENT_LENGTH") or "0"
        if not (length.isascii() and length.isdigit()):
            self.close_connection, length = True, "0"
        seconds = self.server.app.limits.upload_seconds
        return cast("IO[bytes]", Body(cast("IO[bytes]", self.rfile), length=int(length), seconds=seconds))

    def _serve(self, environ: dict[str, Any], body: IO[bytes]) -> None:
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None, /) -> Any:
            head[:] = status, headers
            return self.wfile.write

        chunks = self.server.app(environ, start_response)
        try:
            self._drain(body)
            self._send_head(*head)
            for chunk in chunks:
                self.wfile.write(chunk)
                self.wfile.flush()
            self.wfile.flush()
        finally:
            if close := getattr(chunks, "close", None):
                close()

    def _drain(self, body: IO[bytes]) -> None:
        """Read the rest of the body, or it would be parsed as the next request."""
        drained = 0
        try:
            while not self.close_connection and (chunk := body.read(DRAIN_CHUNK)):
                drained += len(chunk)
                self.close_connection = drained > DRAIN_BYTES
        except (ApiError, ClientDisconnected, OSError):
            self.close_connection = True

    def _send_head(self, status: str, headers: list[tuple[str, str]]) -> None:
        code, _, reason = status.partition(" ")
        self.send_response_only(int(code), reason)
        date = self.date_time_string(self.server.app.state.clock())
        own = {"Server": self.version_string(), "Date": date}
        given = {name for name, _ in headers}
        for name, value in [*headers, *((name, own[name]) for name in own if name not in given)]:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _hang_up(self, *, reset: bool) -> None:
        self.close_connection = True
        if reset:
            self.server.disconnected(self.connection)
            # Lingering for zero seconds makes the kernel send RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())


class Server(ThreadedWSGIServer):
    """A listening socket and its open connections."""

    app: App
    request_queue_size = 512

    def __init__(self, host: str, port: int, app: App) -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(host, port, app, handler=Handler)

    def connected(self, connection: socket.socket) -> None:
        """Register a connection and wait for ``connect_latency`` seconds, as for a real handshake."""
        with self._lock:
            self._open.add(connection)
        self.app.count_connection()
        self.app.faults.sleep(self.app.faults.connect_latency)

    def disconnected(self, connection: socket.socket) -> None:
        """Unregister a connection."""
        with self._lock:
            self._open.discard(connection)

    def hang_up(self) -> None:
        """Close all connections, which ends their threads."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class Emulator:
    """A local Cloudflare Images account with an HTTP server; a context manager.

    ``data`` is a folder that keeps the account across restarts; by default it is in memory. ``variants`` are
    named variants besides ``public``: options by name. Uploads by URL can fetch from loopback and from the
    hosts in ``fetch_from``. Requests are refused unless their ``Host`` is loopback, ``host`` or one of
    ``allowed_hosts``, such as a service's name in Docker Compose. ``port=0`` takes a free port. ``clock``
    returns seconds since 1970. Raises ``BlockingIOError`` if another emulator uses the folder.
    """

    def __init__(
        self,
        *,
        data: Path | str | None = None,
        account_id: str = ACCOUNT_ID,
        token: str = API_TOKEN,
        account_hash: str = ACCOUNT_HASH,
        variants: Mapping[str, Mapping[str, Any]] | None = None,
        flexible_variants: bool = True,
        limits: Limits | None = None,
        subscribed: bool = True,
        fetch_from: Iterable[str] = (),
        allowed_hosts: Iterable[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if data is not None:
            Path(data).mkdir(parents=True, exist_ok=True)
        self.app = App(
            Account(account_id=account_id, api_token=token, account_hash=account_hash),
            data=None if data is None else Path(data),
            variants=variants,
            flexible_variants=flexible_variants,
            limits=limits,
            subscribed=subscribed,
            fetch_from=fetch_from,
            allowed_hosts=[*allowed_hosts, host],
            clock=clock,
        )
        self.account_id = account_id
        self.api_token = token
        self.account_hash = account_hash
        self.images = self.app.state.images
        self._bind_address = host, port
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<Emulator {self.url if self._server else '(not started)'}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Start the server in a thread and return the emulator."""
        self._server = Server(*self._bind_address, self.app)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},
            name="cf-images-emulator",
            daemon=True,
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Close all connections and release the port and the data folder."""
        if self._server and self._thread:
            self._server.shutdown()
            self._server.hang_up()
            self._thread.join()
        self.app.close()

    def reset(self) -> None:
        """Restore the initial state: no images, no faults, counters at zero."""
        self.app.reset()

    def snapshot(self) -> list[Kept]:
        """Return all images with their bytes, for :meth:`restore`."""
        return self.images.snapshot()

    def restore(self, snapshot: list[Kept]) -> None:
        """Undo what has happened to images since a :meth:`snapshot`."""
        self.images.restore(snapshot)

    def reset_faults(self) -> None:
        """Undo faults and latencies."""
        self.faults.reset()

    @property
    def url(self) -> str:
        """The URL of the server, without a trailing slash; raise ``RuntimeError`` before :meth:`start`."""
        if self._server is None:
            raise RuntimeError("The emulator is not started; use it in a with statement or call start()")
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    @property
    def api_url(self) -> str:
        """The URL that replaces ``https://api.cloudflare.com/client/v4``."""
        return f"{self.url}/client/v4"

    @property
    def delivery_url(self) -> str:
        """The URL that replaces ``https://imagedelivery.net``, the part before the account hash."""
        return self.url

    @property
    def faults(self) -> Faults:
        """The faults on demand."""
        return self.app.faults

    @property
    def requests(self) -> list[LoggedRequest]:
        """Method, path without query, and status of each request since the last reset."""
        return self.app.requests

    @property
    def signing_keys(self) -> dict[str, str]:
        """Values of the signing keys by name, oldest first."""
        return self.app.state.signing_keys()

    @property
    def connections(self) -> int:
        """Number of connections accepted since the last reset."""
        return self.app.connections

    @property
    def latency(self) -> float:
        """Seconds added to each request."""
        return self.app.faults.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self.app.faults.latency = seconds

    @property
    def connect_latency(self) -> float:
        """Seconds added to each new connection."""
        return self.app.faults.connect_latency

    @connect_latency.setter
    def connect_latency(self, seconds: float) -> None:
        self.app.faults.connect_latency = seconds
