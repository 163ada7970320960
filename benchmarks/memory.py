"""Memory of uploads: one of 10 MB, and 32 of 9 MB in 16 threads, beside Cloudflare's own SDK.

Counted is the peak of what Python allocates while files from disk are sent, their bytes included.
"""

from __future__ import annotations

import os
import tempfile
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import django
from django.conf import settings

from benchmarks.measure import RunningEmulator, compared, emulator, table
from tests.chaos.pictures import jpeg

_MB = 1024 * 1024
_SDK = "Cloudflare's SDK"
_LOADS = {"1 upload of 10 MB": (1, 1, 10 * _MB), "32 uploads of 9 MB, 16 threads": (32, 16, 9 * _MB)}
Upload = Callable[[str, int], object]


def main() -> None:
    """Print the peak of what Python allocates while files are sent, a row for each load."""
    rows = []
    with emulator() as cloudflare, tempfile.TemporaryDirectory() as folder:
        os.environ["BENCHMARKS_API_URL"] = cloudflare.api_url
        os.environ["BENCHMARKS_DELIVERY_URL"] = cloudflare.delivery_url
        django.setup()
        for name, load in _LOADS.items():
            ours, theirs = _peak(folder, _save(), *load), _peak(folder, _sdk(cloudflare), *load)
            compared(f"memory of {name}", _SDK, ours / theirs)
            rows.append((name, f"{ours / _MB:.2f} MB", f"{theirs / _MB:.2f} MB"))
    table(("sending files from disk", "`storage.save()`", _SDK), rows)


def _save() -> Upload:
    from django.core.files.base import File
    from django.core.files.storage import storages

    storage = storages["cloudflare_images"]

    def save(path: str, number: int) -> None:
        with open(path, "rb") as file:
            storage.save(f"photo{number}.jpg", File(file))

    return save


def _sdk(cloudflare: RunningEmulator) -> Upload:
    from cloudflare import Cloudflare

    images: Any = Cloudflare(api_token=settings.CF_IMG_TOKEN, base_url=cloudflare.api_url).images.v1

    def create(path: str, number: int) -> None:
        with open(path, "rb") as file:
            part = (f"photo{number}.jpg", file, "image/jpeg")
            images.create(account_id=settings.CF_ACCT_ID, file=part)

    return create


def _peak(folder: str, upload: Upload, images: int, threads: int, size: int) -> int:
    path = os.path.join(folder, f"{size}.jpg")
    with open(path, "wb") as file:
        file.write(jpeg(640, 480, at_least=size))
    upload(path, 0)  # imports and the connection pool of the first call do not count
    tracemalloc.start()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(partial(upload, path), range(images)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
