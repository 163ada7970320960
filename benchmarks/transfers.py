"""What ``cf_images import`` takes: beside a bare pooled httpx loop, at the batch host, and in memory.

Each row starts a site on PostgreSQL where it is there, else on SQLite, with an emulator and a folder of
images, none like another. For the speed, an image has 50 KB, and a request takes 40 ms; the bare loop has as
many threads, and sends bytes that it has in memory. The import reads, checks and hashes each file, keeps the
ledger, and reads all rows again at its end. Starting Python and Django is left out. Cloudflare takes at most
200 requests a second: 16 threads, which send more, show what the processors allow, shared with the emulator.
"""

from __future__ import annotations

import argparse
import filecmp
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.measure import compared, table
from tests.chaos import servers
from tests.chaos.pictures import jpeg
from tests.chaos.processes import Site

_LATENCY = 0.04  # seconds a request
_BYTES = 50_000
_THREADS = (1, 4, 16)
_IMAGES, _ROWS = 5000, 5000
_TARGET = 0.9
_BATCH_THREADS, _BATCH_RATE, _API_RATE = 16, 200, (1200, 300.0)
_MB = 1024 * 1024
_MAX_MB = 50


def main() -> None:
    """Print the tables; ``--images`` is for those about speed, ``--rows`` for that about memory.

    ``--memory`` and ``--batch`` print only theirs.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=_IMAGES)
    parser.add_argument("--rows", type=int, default=_ROWS)
    parser.add_argument("--batch", action="store_true")
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    is_all = not (options.batch or options.memory)
    if is_all:
        _speed(options.images)
    if is_all or options.memory:
        _memory(options.rows)
    if is_all:
        _out_and_back(options.images)
    if is_all or options.batch:
        _batch(options.images)


def _speed(images: int) -> None:
    rows = []
    for threads in _THREADS:
        with _site(images, latency=_LATENCY) as site:
            before = _load()
            bare = _bare_seconds(site, images, threads)
            found = _measured(site, "import", "chaos.Photo.image", "--threads", str(threads))
            _check_images(site, 2 * images)
        ratio = bare / found["seconds"]
        compared(
            f"`cf_images import --threads {threads}`",
            "bare httpx loop, as many threads",
            1 / ratio,
            peer=False,
        )
        rows.append(
            (
                f"{images:,}",
                threads,
                f"{images / bare:.1f}",
                f"{images / found['seconds']:.1f}",
                f"{ratio:.0%}",
                f"≥ {_TARGET:.0%}",
                "yes" if ratio >= _TARGET else "no",
                f"{found['queries'] / images:.2f}",
                before,
            )
        )
    table(
        (
            *("images", "threads", "bare loop, a second", "import, a second", "ratio", "target", "met?"),
            *("queries an image", "load before"),
        ),
        rows,
    )


def _memory(rows: int) -> None:
    with _site(rows, size=0) as site:
        before = _load()
        found = _measured(site, "import", "chaos.Photo.image")
        _check_images(site, rows)
    over_idle = found["over_idle"] / _MB
    print(flush=True)
    table(
        ("rows", "peak over idle", "target", "met?", "seconds", "queries an image", "load before"),
        [
            (
                f"{rows:,}",
                f"{over_idle:.1f} MB",
                f"≤ {_MAX_MB} MB",
                "yes" if over_idle <= _MAX_MB else "no",
                f"{found['seconds']:.0f}",
                f"{found['queries'] / rows:.2f}",
                before,
            )
        ],
    )


def _batch(images: int) -> None:
    with _site(images, latency=_LATENCY, edge_rate=_API_RATE, batch_rate=_BATCH_RATE) as site:
        before = _load()
        command = ("import", "chaos.Photo.image", "--batch", "--threads", str(_BATCH_THREADS))
        found = _measured(site, *command)
        _check_images(site, images)
        moments = sorted(map(float, site.arrivals.read_text().split()))
        limited = site.counters()["statuses"].get("429", 0)
    most = _most_in_a_second(moments)
    print(flush=True)
    table(
        (
            "images at the batch host",
            "a second",
            "most in any second",
            "target",
            "met?",
            "429",
            "load before",
        ),
        [
            (
                f"{images:,}",
                f"{images / found['seconds']:.1f}",
                most,
                f"≤ {_BATCH_RATE}",
                "yes" if most <= _BATCH_RATE else "no",
                limited,
                before,
            )
        ],
    )


def _most_in_a_second(moments: list[float]) -> int:
    """Return the largest number of requests in a second that begins with one of them."""
    return max(bisect_left(moments, moment + 1) - number for number, moment in enumerate(moments))


def _out_and_back(images: int) -> None:
    """Move private images, whose names change, to Cloudflare and back."""
    with _site(0, documents=images) as site, tempfile.TemporaryDirectory() as folder:
        before, began, dump = _load(), time.monotonic(), _dump(site)
        original = Path(folder, "original")
        shutil.copytree(site.media, original)
        site.run("cf_images", "import")
        site.run("cf_images", "verify", "--bytes")
        site.run("cf_images", "switch", "--noinput")
        is_changed = _dump(site) != dump
        out = Path(folder, "out")
        site.run("cf_images", "export", "--directory", str(out))
        site.run("cf_images", "revert", "--noinput")
        shutil.rmtree(site.media)
        site.run("cf_images", "export", "--to", "default")
        differences = len(_differences(original, out) + _differences(original, site.media))
        is_same = is_changed and _dump(site) == dump
        seconds = time.monotonic() - began
    print(flush=True)
    table(
        ("private images, out and back", "files that differ", "database as before", "seconds", "load before"),
        [(f"{images:,}", differences, "yes" if is_same else "no", f"{seconds:.0f}", before)],
    )
    if differences or not is_same:
        raise SystemExit("Something is not as it was.")


def _dump(site: Site) -> str:
    return hashlib.sha256(site.run("dumpdata", "chaos").encode()).hexdigest()


def _differences(one: Path, other: Path) -> list[str]:
    """Return what ``diff -r`` would name."""
    compared = filecmp.dircmp(one, other, ignore=[], hide=[])
    _, wrong, unread = filecmp.cmpfiles(one, other, compared.common_files, shallow=False)
    found = [*compared.left_only, *compared.right_only, *compared.common_funny, *wrong, *unread]
    return found + [name for part in compared.common_dirs for name in _differences(one / part, other / part)]


def _bare_seconds(site: Site, images: int, threads: int) -> float:
    url = f"{site.options['api_url']}/accounts/{site.options['account_id']}/images/v1"
    headers = {"Authorization": f"Bearer {site.options['api_token']}"}
    picture = jpeg(64, 48).ljust(_BYTES, b"\0")

    def post(number: int) -> None:
        file = io.BytesIO(picture + str(number).encode())
        files = {"file": (f"{number}.jpg", file, "image/jpeg")}
        data = {"id": f"bare/{number}.jpg"}
        client.post(url, headers=headers, data=data, files=files, timeout=60).raise_for_status()

    client = httpx.Client(limits=httpx.Limits(max_connections=threads, max_keepalive_connections=threads))
    with client, ThreadPoolExecutor(threads) as pool:
        began = time.monotonic()
        list(pool.map(post, range(images)))
        return time.monotonic() - began


def _measured(site: Site, *command: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.run(*command, module="benchmarks.importing"))
    return found


def _check_images(site: Site, expected: int) -> None:
    if (found := site.counters()["images"]) != expected:
        raise SystemExit(f"Expected {expected} images; found {found}.")


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


@contextmanager
def _site(
    photos: int, *, documents: int = 0, size: int = _BYTES, latency: float = 0, **options: Any
) -> Iterator[Site]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database: Any = servers.sqlite(folder)
        if not servers.refusal("PostgreSQL"):
            database = stack.enter_context(servers.postgresql())
        site = stack.enter_context(
            Site(folder, database=database, huey=servers.sqlite_huey(folder), **options)
        )
        site.run("library", str(photos), str(documents), str(size))
        site.set_faults(latency=latency)
        yield site
