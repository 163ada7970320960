"""Memory of uploads over the size of the file: one of 10 MB, and 32 of 9 MB in 16 threads."""

from __future__ import annotations

import os
import tempfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import django

from benchmarks.measure import emulator, table
from tests.chaos.pictures import jpeg

_MB = 1024 * 1024


def main() -> None:
    """Print the peak of what Python allocates while it saves files from disk."""
    with emulator() as cloudflare, tempfile.TemporaryDirectory() as folder:
        os.environ["BENCHMARKS_API_URL"] = cloudflare.api_url
        os.environ["BENCHMARKS_DELIVERY_URL"] = cloudflare.delivery_url
        django.setup()
        rows = [
            ("1 upload of 10 MB", f"{_peak(folder, 1, 1, 10 * _MB) / _MB:.2f} MB"),
            ("32 uploads of 9 MB, 16 threads", f"{_peak(folder, 32, 16, 9 * _MB) / _MB:.2f} MB"),
        ]
    table(("saving a file from disk", "peak over the file"), rows)


def _peak(folder: str, images: int, threads: int, size: int) -> int:
    from django.core.files.base import File
    from django.core.files.storage import storages

    path = os.path.join(folder, f"{size}.jpg")
    with open(path, "wb") as file:
        file.write(jpeg(640, 480, at_least=size))
    storage = storages["cloudflare_images"]

    def save(number: int) -> None:
        with open(path, "rb") as file:
            storage.save(f"photo{number}.jpg", File(file))

    save(0)  # imports and the connection pool of the first call do not count
    tracemalloc.start()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(save, range(images)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
