"""``save()`` of 50 KB images: images a second, and CPU beside Cloudflare's own SDK and KalvadTech's package.

The least that could be done is a pooled httpx client that posts the same bodies to the same emulator in the
same run. For the rates, a request takes 40 ms and a new connection two more round trips. For the CPU, nothing
is delayed, and only the time of this process counts: the emulator runs in another.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import django
from django.conf import settings

from benchmarks.measure import Operation, RunningEmulator, compare, compared, emulator, table
from tests.chaos.pictures import jpeg

_IMAGES = 160
_LATENCY = {"latency": 0.04, "connect_latency": 0.08}  # seconds
_CALLS, _ROUNDS = 600, 30
_SDK = "Cloudflare's SDK: `images.v1.create()`"
_KALVAD = "KalvadTech: `storage.save()`"
_BARE = "bare httpx loop"
_API_URL = "https://api.cloudflare.com/client/v4"


def main() -> None:
    """Print images a second at 1 and at 16 threads, then the CPU of one upload."""
    with emulator() as cloudflare:
        os.environ["BENCHMARKS_API_URL"] = cloudflare.api_url
        os.environ["BENCHMARKS_DELIVERY_URL"] = cloudflare.delivery_url
        django.setup()
        rows = [_compare_rates(cloudflare, threads) for threads in (1, 16)]
        table(("threads", _BARE, "`storage.save()`", "ratio", "new connections of `save()`"), rows)
        print(flush=True)
        cloudflare.reset()
        compare(_uploads(cloudflare), rounds=_ROUNDS, unit="ms")


def _uploads(cloudflare: RunningEmulator) -> Iterator[Operation]:
    body = _body()
    numbers = range(_CALLS)
    yield Operation(name=_BARE, run=_bare(cloudflare, 1, body), inputs=numbers, is_bare=True)
    yield Operation(name=_SDK, run=_sdk(cloudflare, body), inputs=numbers, expected="photo0.jpg")
    if find_spec("cloudflare_images"):
        yield Operation(name=_KALVAD, run=_kalvad(cloudflare, body), inputs=numbers)
    yield Operation(
        name="`storage.save()`",
        run=_save(body),
        inputs=numbers,
        expected="photo0-",
        targets={_SDK: 1, _KALVAD: None, _BARE: None},
    )


def _compare_rates(cloudflare: RunningEmulator, threads: int) -> tuple[object, ...]:
    body = _body()
    cloudflare.reset(**_LATENCY)
    bare = _rate(threads, _bare(cloudflare, threads, body))
    cloudflare.reset(**_LATENCY)
    saved = _rate(threads, _save(body))
    name = f"`storage.save()` at 40 ms a request, {threads} thread{'s' if threads > 1 else ''}"
    compared(name, f"{_BARE}, as many threads", bare / saved, peer=False)
    return threads, f"{bare:.1f}/s", f"{saved:.1f}/s", f"{saved / bare:.0%}", cloudflare.connections()


def _body() -> bytes:
    return jpeg(640, 480, at_least=50_000)


def _save(body: bytes) -> Callable[[int], str]:
    from django.core.files.base import ContentFile
    from django.core.files.storage import storages

    storage = storages["cloudflare_images"]
    return lambda number: storage.save(f"photo{number}.jpg", ContentFile(body))


def _sdk(cloudflare: RunningEmulator, body: bytes) -> Callable[[int], object]:
    from cloudflare import Cloudflare

    images: Any = Cloudflare(api_token=settings.CF_IMG_TOKEN, base_url=cloudflare.api_url).images.v1

    def create(number: int) -> object:
        # A file name and a type, since bytes alone go out as application/octet-stream.
        file = (f"photo{number}.jpg", body, "image/jpeg")
        return images.create(account_id=settings.CF_ACCT_ID, file=file)

    return create


def _kalvad(cloudflare: RunningEmulator, body: bytes) -> Callable[[int], object]:
    """Return its ``save()``.

    Its URL of the API is fixed, and it sends no content type, which the emulator wants: both are given here.
    """
    import requests
    from cloudflare_images import service
    from cloudflare_images.storage import CloudflareImagesStorage
    from django.core.files.base import ContentFile

    class Redirected:
        @staticmethod
        def post(url: str, *, files: dict[str, Any], **options: Any) -> requests.Response:
            typed = {"file": (files["file"].name, files["file"], "image/jpeg")}
            return requests.post(url.replace(_API_URL, cloudflare.api_url), files=typed, **options)

    service.requests = Redirected
    storage = CloudflareImagesStorage()
    return lambda number: storage.save(f"photo{number}.jpg", ContentFile(body))


def _bare(cloudflare: RunningEmulator, threads: int, body: bytes) -> Callable[[int], object]:
    import httpx

    client = httpx.Client(limits=httpx.Limits(max_connections=threads, max_keepalive_connections=threads))
    url = f"{cloudflare.api_url}/accounts/{settings.CF_ACCT_ID}/images/v1"
    headers = {"Authorization": f"Bearer {settings.CF_IMG_TOKEN}"}

    def post(number: int) -> None:
        file = {"file": (f"photo{number}.jpg", body, "image/jpeg")}
        client.post(url, headers=headers, files=file).raise_for_status()

    return post


def _rate(threads: int, store: Callable[[int], object]) -> float:
    """Return images a second, the best of three runs; connections are open, as in a server that runs."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(store, range(threads)))
        return max(_run(pool, store) for _ in range(3))


def _run(pool: ThreadPoolExecutor, store: Callable[[int], object]) -> float:
    began = time.perf_counter()
    list(pool.map(store, range(_IMAGES)))
    return _IMAGES / (time.perf_counter() - began)
