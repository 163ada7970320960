"""How long a task of the site waits in huey's queue: alone, beside pending images, and while they are paused.

One consumer with four threads. The emulator takes 400 ms for a request, about as long as Cloudflare for a
small image. On PostgreSQL and Redis where they are there, else on SQLite.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import table
from tests.chaos import servers
from tests.chaos.processes import Site

_IMAGES = 1500
_TASKS = 30
_LATENCY = 0.4  # seconds
_CONSUMER = ("run_huey", "-k", "thread", "-w", "4", "-q")


def main() -> None:
    """Print how long tasks of the site waited, and how many of the package's messages there were."""
    rows = []
    for label, images, paused in (
        ("nothing is pending", 0, False),
        (f"{_IMAGES:,} images are pending", _IMAGES, False),
        ("… and their account is paused", _IMAGES, True),
    ):
        found = _measure(images=images, paused=paused)
        median, slowest = (f"{figure * 1000:,.0f} ms" for figure in (found["median"], found["slowest"]))
        rows.append((label, median, slowest, found["messages"]))
    table(("while", "a task waits (median)", "at most", "messages of the package at most"), rows)


def _measure(*, images: int, paused: bool) -> dict[str, Any]:
    with _site() as site:
        site.set_faults(latency=_LATENCY)
        if images:
            site.run("visitors", "1", str(images))
        if paused:
            site.run("pause")
        site.start(*_CONSUMER)
        site.run("own_tasks", "1")  # the consumer takes some seconds to start
        found = json.loads(site.run("own_tasks", str(_TASKS)))
    waits = found["waits"]
    return {"median": statistics.median(waits), "slowest": max(waits), "messages": max(found["messages"])}


@contextmanager
def _site() -> Iterator[Site]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database: Any = servers.sqlite(folder)
        huey: Any = servers.sqlite_huey(folder)
        if not servers.refusal("PostgreSQL", "Redis"):
            database = stack.enter_context(servers.postgresql())
            huey = stack.enter_context(servers.redis_huey())
        yield stack.enter_context(Site(folder, database=database, huey=huey))
