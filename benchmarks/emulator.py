"""Requests a second of the emulator: uploads, cached deliveries and new renditions.

The rival is a bare werkzeug application that stores and returns the same bodies and does nothing else. Its
server is werkzeug's own, which closes the connection after each response.
"""

from __future__ import annotations

import http.client
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from benchmarks.measure import compared, table
from tests.chaos.pictures import jpeg

_RIVAL = "bare werkzeug app"
_THREADS = 8
_SECONDS = 3.0
_BOUNDARY = "benchmark"
_HEADERS = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The port, the paths and the request headers of a server in another process."""

    port: int
    upload_path: str
    delivery_path: str
    headers: dict[str, str]


def main() -> None:
    """Print requests a second for each server."""
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "emulator, in memory": _measure(_emulator, None),
            "emulator, `--data DIR`": _measure(_emulator, folder),
            _RIVAL: _measure(_bare, None),
        }
    bare = found[_RIVAL]
    for name, rates in found.items():
        if name != _RIVAL:
            compared(f"an upload to the {name}", _RIVAL, bare[0] / rates[0], peer=False)
            compared(f"a cached delivery by the {name}", _RIVAL, bare[1] / rates[1], peer=False)
    rows = [(name, *(f"{rate:.0f}/s" if rate else "–" for rate in rates)) for name, rates in found.items()]
    table((f"{_THREADS} connections, 50 KB JPEG", "uploads", "cached deliveries", "renditions"), rows)


def _measure(serve: Callable[..., None], folder: str | None) -> tuple[float, float, float]:
    """Return uploads, cached deliveries and renditions a second."""
    with _running(serve, folder) as service:
        uploads = _rate(service, lambda _: ("POST", service.upload_path))
        cached = _rate(service, lambda _: ("GET", f"{service.delivery_path}/w=200"))
        if serve is _bare:
            return uploads, cached, 0.0
        made = _rate(
            service,
            lambda number: ("GET", f"{service.delivery_path}/w=200,sharpen={number % 10_000 / 1_000}"),
        )
    return uploads, cached, made


def _rate(service: Service, request: Callable[[int], tuple[str, str]]) -> float:
    """Return successful requests a second; ``request`` gets their numbers, from 0."""
    numbers = iter(range(10**9))
    lock = threading.Lock()
    body = _form()
    ends = time.perf_counter() + _SECONDS

    def loop(_: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", service.port)
        done = 0
        while time.perf_counter() < ends:
            with lock:
                number = next(numbers)
            method, path = request(number)
            connection.request(method, path, body if method == "POST" else None, service.headers)
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                raise RuntimeError(f"{method} {path}: {response.status}")
            done += 1
        connection.close()
        return done

    with ThreadPoolExecutor(_THREADS) as pool:
        return sum(pool.map(loop, range(_THREADS))) / _SECONDS


def _form() -> bytes:
    head = (
        f"--{_BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="photo.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + jpeg(640, 480, at_least=50_000) + f"\r\n--{_BOUNDARY}--\r\n".encode()


@contextmanager
def _running(serve: Callable[..., None], folder: str | None) -> Iterator[Service]:
    context = multiprocessing.get_context("spawn")
    pipe, other_end = context.Pipe()
    process = context.Process(target=serve, args=(other_end, folder), daemon=True)
    process.start()
    try:
        service: Service = pipe.recv()
        yield service
    finally:
        pipe.send("stop")
        process.join(10)
        process.kill()


def _emulator(pipe: Connection, folder: str | None) -> None:
    from cf_images.emulator import Emulator

    with Emulator(data=folder) as emulator:
        upload_path = f"/client/v4/accounts/{emulator.account_id}/images/v1"
        port = int(emulator.url.rpartition(":")[2])
        headers = _HEADERS | {"Authorization": f"Bearer {emulator.api_token}"}
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", upload_path, _form(), headers)
        connection.getresponse().read()
        connection.close()
        delivery_path = f"/{emulator.account_hash}/{next(iter(emulator.images))}"
        pipe.send(Service(port=port, upload_path=upload_path, delivery_path=delivery_path, headers=headers))
        pipe.recv()


def _bare(pipe: Connection, _: str | None) -> None:
    from werkzeug.serving import WSGIRequestHandler, make_server
    from werkzeug.wrappers import Request, Response

    stored: list[bytes] = []

    @Request.application
    def application(request: Request) -> Response:
        if request.method == "POST":
            stored.append(request.files["file"].read())
            return Response("{}", mimetype="application/json")
        return Response(stored[0], mimetype="image/jpeg")

    class Silent(WSGIRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(Service(port=server.port, upload_path="/", delivery_path="", headers=_HEADERS))
    pipe.recv()
