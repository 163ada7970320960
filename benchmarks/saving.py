"""``save()`` of 50 KB images, with 40 ms a request and two more round trips for each new connection.

The rival is the least that could be done: a pooled httpx client posting the same bodies to the same
emulator in the same run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import django

from benchmarks.measure import RunningEmulator, emulator, jpeg, table

_IMAGES = 160


def main() -> None:
    """Print images a second for both, at 1 and at 16 threads, and the connections that ours took."""
    with emulator(latency=0.04, connect_latency=0.08) as cloudflare:
        os.environ["BENCHMARKS_API_URL"] = cloudflare.api_url
        os.environ["BENCHMARKS_DELIVERY_URL"] = cloudflare.delivery_url
        django.setup()
        rows = [_compare(cloudflare, threads) for threads in (1, 16)]
    table(("threads", "bare httpx loop", "`storage.save()`", "ratio", "new connections of ours"), rows)


def _compare(cloudflare: RunningEmulator, threads: int) -> tuple[object, ...]:
    from django.core.files.base import ContentFile
    from django.core.files.storage import storages

    body = jpeg(640, 480, at_least=50_000)
    storage = storages["cloudflare_images"]
    bare = _rate(threads, _bare(cloudflare, threads, body))
    cloudflare.reset()
    ours = _rate(threads, lambda number: storage.save(f"photo{number}.jpg", ContentFile(body)))
    return threads, f"{bare:.1f}/s", f"{ours:.1f}/s", f"{ours / bare:.0%}", cloudflare.connections()


def _bare(cloudflare: RunningEmulator, threads: int, body: bytes) -> Callable[[int], object]:
    import httpx

    from benchmarks import settings

    client = httpx.Client(limits=httpx.Limits(max_connections=threads, max_keepalive_connections=threads))
    url = f"{cloudflare.api_url}/accounts/{settings.CF_ACCT_ID}/images/v1"
    headers = {"Authorization": f"Bearer {settings.CF_IMG_TOKEN}"}

    def post(number: int) -> None:
        file = {"file": (f"photo{number}.jpg", body, "image/jpeg")}
        client.post(url, headers=headers, files=file).raise_for_status()

    return post


def _rate(threads: int, store: Callable[[int], object]) -> float:
    """Images a second, the best of three runs; connections warm as they are in a server that runs."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(store, range(threads)))
        return max(_run(pool, store) for _ in range(3))


def _run(pool: ThreadPoolExecutor, store: Callable[[int], object]) -> float:
    began = time.perf_counter()
    list(pool.map(store, range(_IMAGES)))
    return _IMAGES / (time.perf_counter() - began)
