"""A plain page while strangers request pending images, and how good the estimates of rendering are.

The server runs in another process, with a database in a file. Twenty requests for renditions start at once,
and the plain page is requested again and again until they have ended; its slowest response counts. The rival
is the least that a view could do, and what this package did at first: read the bytes, render, respond.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import django
from django.conf import settings
from PIL import Image

from benchmarks.measure import table

_REQUESTS = 20
_LIMIT = 1.0  # seconds: what the page may take meanwhile
_CHROME = {"Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"}


def main() -> None:
    """Print the table of the page, then that of the estimates."""
    head = (
        "server",
        "twenty requests for",
        "page alone",
        "rendered anew",
        "pending view",
        "ratio",
        "below 1 s?",
    )
    table(head, [_compare(threads, *load) for load in _loads() for threads in (1, 4, 0)])
    print(flush=True)
    table(
        ("image", "variant", "estimate", "CPU", "CPU/estimate"),
        list(_estimates()),
    )


def _loads() -> Iterator[tuple[str, bytes, int]]:
    """Yield what is requested: a name, the bytes, and how many images have them."""
    photo = _photo()
    yield "one photo of 12 megapixels", photo, 1
    yield "twenty photos of 12 megapixels", photo, _REQUESTS
    yield "twenty PNGs of 4 megapixels", _noise("PNG", (2000, 2000)), _REQUESTS
    yield "twenty GIFs of 30 frames", _gif(30), _REQUESTS


def _compare(threads: int, name: str, body: bytes, images: int) -> tuple[object, ...]:
    with _server(threads, [body] * images) as (url, names):
        alone = statistics.median(_seconds(url) for _ in range(20))
        anew = _slowest_page(url, [f"{url}anew/avatar/{one}" for one in names])
        view = _slowest_page(url, [f"{url}cf-images/pending/avatar/{one}" for one in names])
    server = {0: "a thread each", 1: "1 thread"}.get(threads, f"{threads} threads")
    met = "yes" if view < _LIMIT else "no"
    return server, name, _ms(alone), _ms(anew), _ms(view), f"{view / anew:.0%}", met


def _slowest_page(url: str, targets: list[str]) -> float:
    """Return the seconds of the slowest page while twenty requests for ``targets`` run."""
    barrier = threading.Barrier(_REQUESTS + 1)

    def visit(number: int) -> None:
        barrier.wait()
        _seconds(targets[number % len(targets)])

    with ThreadPoolExecutor(_REQUESTS) as pool:
        visits = [pool.submit(visit, number) for number in range(_REQUESTS)]
        barrier.wait()
        time.sleep(0.02)
        slowest = _seconds(url)
        while not all(one.done() for one in visits):
            slowest = max(slowest, _seconds(url))
        for one in visits:
            one.result()
    return slowest


def _seconds(url: str) -> float:
    began = time.perf_counter()
    with urllib.request.urlopen(urllib.request.Request(url, headers=_CHROME), timeout=300) as response:
        response.read()
    return time.perf_counter() - began


@contextmanager
def _server(threads: int, images: list[bytes]) -> Iterator[tuple[str, list[str]]]:
    """Serve ``images`` with so many threads, or 0 for one each; yield the page's URL and their names."""
    context = multiprocessing.get_context("spawn")
    pipe, other_end = context.Pipe()
    process = context.Process(target=_serve, args=(other_end, threads), daemon=True)
    process.start()
    other_end.close()  # or a server that failed would be waited for
    try:
        pipe.send(images)
        yield pipe.recv()
    finally:
        process.kill()
        process.join()


class Handler(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class Pool(WSGIServer):
    """A server with as many threads as its pool has."""

    request_queue_size = 128
    pool: ThreadPoolExecutor

    def process_request(self, request: Any, client_address: Any) -> None:
        self.pool.submit(self._process, request, client_address)

    def _process(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)


def _serve(pipe: Connection, threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _set_up(Path(folder))
        names = [_enqueue(body) for body in pipe.recv()]
        server = (Pool if threads else _Threads)(("127.0.0.1", 0), Handler)
        if isinstance(server, Pool):
            server.pool = ThreadPoolExecutor(threads)
        from django.core.wsgi import get_wsgi_application

        server.set_app(get_wsgi_application())
        pipe.send((f"http://127.0.0.1:{server.server_port}/", names))
        server.serve_forever()


def _set_up(folder: Path) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    settings.DATABASES["default"]["NAME"] = folder / "db.sqlite3"
    settings.ROOT_URLCONF = "benchmarks.pending_view_urls"
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "none"}
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def _enqueue(body: bytes) -> str:
    from cf_images.background import upload_from_file

    return upload_from_file(io.BytesIO(body), filename="photo.png", storage="background")


def _estimates() -> Iterator[tuple[object, ...]]:
    from cf_images import rendering
    from cf_images.exceptions import RenderingError
    from cf_images.rendering import cost

    images = {
        "JPEG photo, 12 MP": _photo(),
        "JPEG noise, 4 MP, progressive": _noise("JPEG", (2000, 2000), progressive=True, quality=95),
        "PNG noise, 4 MP": _noise("PNG", (2000, 2000)),
        "PNG gradient, 4 MP": _encoded(_gradient((2000, 2000)), "PNG"),
        "PNG noise, 25 MP": _noise("PNG", (5000, 5000)),
        "WebP noise, 2 MP": _noise("WEBP", (1600, 1250)),
        "GIF, 10 frames of 120 × 120": _gif(10, side=120),
        "GIF, 30 frames": _gif(30),
    }
    variants = {
        **settings.CF_IMAGES["VARIANTS"],
        "public": {"width": 1366, "height": 768, "fit": "scale-down"},
    }
    original, expected = cost.seconds, list[float]()

    def listen(*arguments: Any, **options: Any) -> float:
        expected.append(original(*arguments, **options))
        return expected[-1]

    cost.seconds = listen
    for image, body in images.items():
        for name, options in variants.items():
            transform = rendering.Transform.from_options(options)

            def run(body: bytes = body, transform: Any = transform) -> None:
                rendering.render(body, transform, accept=_CHROME["Accept"], max_seconds=0.3)

            try:
                taken = min(_cpu(run) for _ in range(3))
            except RenderingError:
                yield image, name, _ms(expected[-1]), "placeholder", ""
                continue
            yield image, name, _ms(expected[-1]), _ms(taken), f"{taken / expected[-1]:.2f}"


def _cpu(run: Callable[[], None]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def _photo() -> bytes:
    noise = Image.frombytes("RGB", (4000, 3000), random.Random(1).randbytes(36_000_000))
    return _encoded(Image.blend(_gradient((4000, 3000)), noise, 0.06), "JPEG", quality=88)


def _gradient(size: tuple[int, int]) -> Image.Image:
    small = Image.frombytes("RGB", (8, 8), random.Random(1).randbytes(192))
    return small.resize(size, Image.Resampling.BICUBIC)


def _noise(kind: str, size: tuple[int, int], **options: Any) -> bytes:
    """Return noise that takes up to 10 MB; a PNG has it in some of its bits."""
    image = Image.frombytes("RGB", size, random.Random(1).randbytes(size[0] * size[1] * 3))
    if kind == "PNG":
        image = image.point(lambda value: value & (0xE0 if size[0] < 3000 else 0x80))
    return _encoded(image, kind, **options)


def _gif(frames: int, *, side: int = 400) -> bytes:
    generator = random.Random(1)
    images = [Image.frombytes("L", (side, side), generator.randbytes(side**2)) for _ in range(frames)]
    return _encoded(images[0], "GIF", save_all=True, append_images=images[1:], duration=50)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    body = io.BytesIO()
    image.save(body, kind, **options)
    return body.getvalue()


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"
