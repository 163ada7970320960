"""``cf_images orphans`` on an account of 100,000 images, and as many rows: time, memory, requests.

The emulator repeats and skips images in lists of more than 10,000, half of the images were imported within
minutes, and one in a hundred is an orphan. What is found is checked.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import django

from benchmarks.measure import table

_IMAGES = 100_000
_STABLE = 10_000  # images of a list
_MB = 1024 * 1024
_MAX_MB, _MAX_MINUTES = 100, 10
_SITE = "benchmarks"
_RATE = 1200 / 300 * 0.81  # requests a second that the pace allows by default


def main() -> None:
    """Print the table; ``--rows`` is the number of images and rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=_IMAGES)
    count = parser.parse_args().rows
    now = int(time.time())
    names = _names(count, now)
    with _emulator(count, now) as urls, tempfile.TemporaryDirectory() as folder:
        os.environ["BENCHMARKS_API_URL"], os.environ["BENCHMARKS_DELIVERY_URL"] = urls
        _set_up(Path(folder))
        orphans, missing = _fill(names)
        del names
        idle = _memory()
        began = time.perf_counter()
        found = _run()
        seconds, peak = time.perf_counter() - began, _peak()
    if [len(found[key]) for key in ("orphans", "missing", "unclear")] != [orphans, missing, 0]:
        sys.exit(f"Expected {orphans} orphans and {missing} missing images; found {found}.")
    requests = found["requests"]
    over_idle = (peak - idle) / _MB
    table(
        ("images", "rows", "seconds", "peak", "over idle", "target", "met?", "requests", "at 3.24 a second"),
        [
            (
                f"{count:,}",
                f"{count:,}",
                f"{seconds:.0f}",
                f"{peak / _MB:.0f} MB",
                f"{over_idle:.0f} MB",
                f"≤ {_MAX_MB} MB, {_MAX_MINUTES} minutes",
                "yes" if over_idle <= _MAX_MB and seconds <= 60 * _MAX_MINUTES else "no",
                f"{requests:,}",
                f"{requests / _RATE / 60:.0f} minutes",
            )
        ],
    )


def _names(count: int, now: int) -> list[tuple[str, int]]:
    """Return IDs and seconds of uploads, the same ones in each process; one in ten is a private image's."""
    chance = random.Random(7)
    dense = range(now - 10_000_000, now - 10_000_000 + max(1, count // 400))
    sparse = range(now - 150_000_000, now - 20_000_000)
    found = []
    for number in range(count):
        second = chance.choice(dense if number % 2 else sparse)
        tail = uuid.UUID(int=chance.getrandbits(128))
        found.append((str(tail) if number % 10 == 0 else f"photos/jane-t9f2k0-{tail.hex[:16]}.jpg", second))
    return found


@contextmanager
def _emulator(count: int, now: int) -> Iterator[tuple[str, str]]:
    """Start an emulator with the images in another process; yield the URLs of its API and of delivery."""
    context = multiprocessing.get_context("spawn")
    pipe, other_end = context.Pipe()
    process = context.Process(target=_serve, args=(other_end, count, now), daemon=True)
    process.start()
    try:
        yield pipe.recv()
    finally:
        pipe.send("stop")
        process.join(10)
        process.kill()


def _serve(pipe: Connection, count: int, now: int) -> None:
    from benchmarks import settings
    from cf_images.emulator import Emulator
    from tests.transfer.accounts import fill, own

    with Emulator(
        account_id=settings.CF_ACCT_ID, token=settings.CF_IMG_TOKEN, account_hash=settings.CF_IMG_HASH
    ) as emulator:
        fill(emulator, ((name, own(site=_SITE, uploaded=second)) for name, second in _names(count, now)))
        emulator.faults.set(unstable_lists=_STABLE)
        pipe.send((emulator.api_url, emulator.delivery_url))
        pipe.recv()


def _set_up(folder: Path) -> None:
    from django.conf import settings

    settings.DATABASES = {
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db.sqlite3")}
    }
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None, "SITE": _SITE}
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def _fill(images: list[tuple[str, int]]) -> tuple[int, int]:
    """Make rows for all images but one in a hundred; return the numbers of orphans and missing images."""
    from django.core.files.storage import storages
    from django.db import connection, models, transaction

    class Photo(models.Model):  # noqa: DJ008  # never shown
        image = models.ImageField(storage=lambda: storages["cloudflare_images"])

        class Meta:
            app_label = "auth"  # an app that is installed

    class Post(models.Model):  # noqa: DJ008  # never shown
        text = models.TextField()

        class Meta:
            app_label = "auth"

    with connection.schema_editor() as editor:
        editor.create_model(Photo)
        editor.create_model(Post)
    orphans = 0
    text = "<p>A photo &amp; words. <img src='https://imagedelivery.net/hash/{}/w=200'></p>" + "words " * 500
    with transaction.atomic(), connection.cursor() as cursor:
        for number, (name, _) in enumerate(images):
            if number % 100 == 50:
                orphans += 1
            elif number % 100 == 51:
                cursor.execute("INSERT INTO auth_post (text) VALUES (%s)", [text.format(name)])
            else:
                shown = f"photos/jane~{name}.jpg" if number % 10 == 0 else name
                cursor.execute("INSERT INTO auth_photo (image) VALUES (%s)", [shown])
        missing = orphans // 10
        for number in range(missing):
            cursor.execute("INSERT INTO auth_photo (image) VALUES (%s)", [f"photos/gone-{number}.jpg"])
    return orphans, missing


def _run() -> dict[str, Any]:
    from django.core.management import call_command

    from cf_images.client import retry
    from cf_images.transfer import orphans

    sent = [0]
    exchange = retry.exchange

    def counted(request: Any) -> Any:
        sent[0] += 1
        return exchange(request)

    retry.exchange, orphans.SECOND_LOOK_SECONDS = counted, 0.0
    out = io.StringIO()
    try:
        call_command(
            "cf_images", "orphans", "--storage", "cloudflare_images", "--json", stdout=out, verbosity=0
        )
    except SystemExit:
        pass  # there are orphans
    (account,) = json.loads(out.getvalue())["accounts"]
    return {**account, "requests": sent[0]}


def _memory() -> float:
    """Return the bytes that this process has in memory now."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * float(resource.getpagesize())


def _peak() -> float:
    """Return the most bytes that this process has had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


if __name__ == "__main__":
    main()
