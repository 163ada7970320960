"""The emulator over real HTTP/1.1: a thread for each connection, which stays open until the client leaves.

Werkzeug's own development server closes the connection after every answer, which would hide from tests
whether a client reuses its connections.
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

from cf_images.emulator.app import Account, App, LoggedRequest
from cf_images.emulator.errors import UPLOAD_TIMED_OUT, ApiError
from cf_images.emulator.faults import Faults, HangUpError
from cf_images.emulator.limits import Limits

ACCOUNT_ID = "0123456789abcdef0123456789abcdef"
API_TOKEN = "emulator-token-0123456789-0123456789-abc"  # noqa: S105 - opens nothing but an emulator
ACCOUNT_HASH = "Emu1atorAccountHash_22"
IDLE_SECONDS = 300
DRAIN_BYTES = 128 * 1024 * 1024
DRAIN_CHUNK = 64 * 1024


class Body(LimitedStream):
    """A request's body: ``length`` bytes that have to arrive in ``seconds``."""

    def __init__(self, stream: IO[bytes], *, length: int, seconds: float) -> None:
        super().__init__(stream, length)
        self._seconds = seconds
        self._deadline: float | None = None

    def readinto(self, b: Any) -> int | None:
        """Read what is there; raises :class:`ApiError` with 5408 when the time is over."""
        self._deadline = self._deadline or time.monotonic() + self._seconds
        if time.monotonic() > self._deadline:
            raise ApiError(UPLOAD_TIMED_OUT)
        return super().readinto(b)

    def on_disconnect(self, error: Exception | None = None) -> None:
        """A read that timed out is no disconnect."""
        if isinstance(error, TimeoutError):
            raise ApiError(UPLOAD_TIMED_OUT) from error
        raise ClientDisconnected


class Handler(WSGIRequestHandler):
    """One connection, request after request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = DRAIN_CHUNK  # head and body leave in one packet
    timeout = IDLE_SECONDS
    server: Server

    def setup(self) -> None:
        """Count the connection."""
        super().setup()
        self.server.connected(self.connection)

    def finish(self) -> None:
        """Forget the connection."""
        self.server.disconnected(self.connection)
        try:
            super().finish()
        except OSError:  # the client left while something was still to be sent
            self.rfile.close()

    def version_string(self) -> str:
        """The header ``Server``."""
        return "cf-images-emulator"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: the application logs what it answered."""

    def handle_expect_100(self) -> bool:
        """Tell the client to go on, now and not with the answer."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def run_wsgi(self) -> None:
        """Answer one request."""
        environ = self.make_environ()
        body = environ["wsgi.input"] = self._body(environ)
        environ["wsgi.input_terminated"] = True
        self.connection.settimeout(self.server.app.limits.upload_seconds)
        try:
            self._serve(environ, body)
        except HangUpError as order:
            self._hang_up(reset=order.reset)
        except OSError:  # the client is gone
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
        """Read what the application left, or the next request would begin in the middle of this one."""
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
        """A client is here; it waits as long as a real handshake would take."""
        with self._lock:
            self._open.add(connection)
        self.app.count_connection()
        self.app.faults.sleep(self.app.faults.connect_latency)

    def disconnected(self, connection: socket.socket) -> None:
        """It is gone."""
        with self._lock:
            self._open.discard(connection)

    def hang_up(self) -> None:
        """End all connections, so that their threads end."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class Emulator:
    """A Cloudflare Images account on a port of this machine; a context manager.

    ``data`` is a folder that keeps everything across restarts; without it, all is in memory. ``variants``
    are options by name, beside ``public``. ``fetch_from`` are the hosts from which uploads by URL may
    fetch, besides loopback. ``clock`` gives seconds since 1970, for tests that travel in time.
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
            clock=clock,
        )
        self.account_id = account_id
        self.api_token = token
        self.account_hash = account_hash
        self.images = self.app.state.images
        self._address = host, port
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
        """Listen; returns at once."""
        self._server = Server(*self._address, self.app)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},
            name="cf-images-emulator",
            daemon=True,
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """End all connections and let go of port and data folder."""
        if self._server and self._thread:
            self._server.shutdown()
            self._server.hang_up()
            self._thread.join()
        self.app.close()

    def reset(self) -> None:
        """As on the first day: no images, no faults, nothing counted."""
        self.app.reset()

    @property
    def url(self) -> str:
        """Where everything is, without a slash at the end."""
        if self._server is None:
            raise RuntimeError("The emulator was not started: use it in a with statement, or call start()")
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    @property
    def api_url(self) -> str:
        """What ``https://api.cloudflare.com/client/v4`` is to Cloudflare."""
        return f"{self.url}/client/v4"

    @property
    def delivery_url(self) -> str:
        """What ``https://imagedelivery.net`` is: the part before the account hash."""
        return self.url

    @property
    def faults(self) -> Faults:
        """What goes wrong on demand."""
        return self.app.faults

    @property
    def requests(self) -> list[LoggedRequest]:
        """Method, path (without query) and status of each request since the last reset."""
        return self.app.requests

    @property
    def signing_keys(self) -> dict[str, str]:
        """The values of the signing keys by name, oldest first."""
        return self.app.state.signing_keys()

    @property
    def connections(self) -> int:
        """How many connections were accepted since the last reset."""
        return self.app.connections

    @property
    def latency(self) -> float:
        """Seconds that each request takes longer."""
        return self.app.faults.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self.app.faults.latency = seconds

    @property
    def connect_latency(self) -> float:
        """Seconds that each new connection takes longer."""
        return self.app.faults.connect_latency

    @connect_latency.setter
    def connect_latency(self, seconds: float) -> None:
        self.app.faults.connect_latency = seconds
