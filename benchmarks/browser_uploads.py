"""What uploads from slow browsers cost a site: through it, and straight to their storage.

As many browsers as the site has threads send 10 MB each over a line of 2 Mbit/s. For ten seconds of that,
another visitor requests a plain page again and again.
"""

from __future__ import annotations

import gzip
import http.client
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings

import cf_images
from benchmarks.measure import emulator, table
from benchmarks.pending_view import Handler, Pool

_BYTES = 10_000_000
_BYTES_A_SECOND = 2_000_000 / 8
_PIECES_A_SECOND = 10
_SECONDS = 10.0
_BOUNDARY = "browser"


def main() -> None:
    """Print the pages a second beside both kinds of upload, and the size of the page's module."""
    head = ("server", "pages a second alone", "beside uploads through it", "beside direct uploads")
    table(head, [_row(threads) for threads in (1, 4)])
    print(flush=True)
    module = (Path(cf_images.__file__).parent / "static/cf_images/upload.js").read_bytes()
    table(("module of the page", "bytes"), [("gzipped", f"{len(gzip.compress(module, 9)):,}")])


def _row(threads: int) -> tuple[str, ...]:
    with _server(threads) as site:
        alone = _pages_a_second(site)
        with _uploads([f"{site}upload/"] * threads):
            through = _pages_a_second(site)
    with (
        _server(threads) as site,
        emulator() as running,
        _uploads([_upload_url(running.api_url) for _ in range(threads)]),
    ):
        direct = _pages_a_second(site)
    server = f"{threads} thread{'s' if threads > 1 else ''}"
    return server, f"{alone:,.0f}", f"{through:,.0f}", f"{direct:,.0f}"


def _upload_url(api_url: str) -> str:
    from cf_images.client import CloudflareImagesClient

    client = CloudflareImagesClient(settings.CF_ACCT_ID, settings.CF_IMG_TOKEN, api_url=api_url)
    return client.create_direct_upload().upload_url


def _pages_a_second(site: str) -> float:
    """Request the page until the time is over, or it does not come any more."""
    parts, count, ends_at = urlsplit(site), 0, time.monotonic() + _SECONDS
    while (left := ends_at - time.monotonic()) > 0:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=left)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/")
            count += connection.getresponse().read() == b"a page"
        connection.close()
    return count / _SECONDS


@contextmanager
def _uploads(urls: list[str]) -> Iterator[None]:
    """Send a file to each URL, slowly, from before until after."""
    over, begun = threading.Event(), threading.Barrier(len(urls) + 1)
    threads = [threading.Thread(target=_send, args=(url, begun, over), daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    begun.wait()
    time.sleep(0.5)
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _send(url: str, begun: threading.Barrier, over: threading.Event) -> None:
    parts = urlsplit(url)
    part = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    end = f"\r\n--{_BOUNDARY}--\r\n"
    with socket.create_connection((parts.hostname, parts.port)) as line:
        line.sendall(
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n"
            f"Content-Length: {len(part) + _BYTES + len(end)}\r\n\r\n{part}".encode()
        )
        begun.wait()
        while not over.wait(1 / _PIECES_A_SECOND):
            with suppress(OSError):
                line.sendall(bytes(int(_BYTES_A_SECOND / _PIECES_A_SECOND)))


@contextmanager
def _server(threads: int) -> Iterator[str]:
    """Serve the site with so many threads; yield its URL."""
    context = multiprocessing.get_context("spawn")
    pipe, other_end = context.Pipe()
    process = context.Process(target=_serve, args=(other_end, threads), daemon=True)
    process.start()
    other_end.close()
    try:
        yield pipe.recv()
    finally:
        process.kill()
        process.join()


def _serve(pipe: Connection, threads: int) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    settings.ROOT_URLCONF = "benchmarks.browser_uploads_urls"
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    django.setup()
    from django.core.wsgi import get_wsgi_application

    server: Any = Pool(("127.0.0.1", 0), Handler)
    server.pool = ThreadPoolExecutor(threads)
    server.set_app(get_wsgi_application())
    pipe.send(f"http://127.0.0.1:{server.server_port}/")
    server.serve_forever()
