"""Four huey consumers on one Redis and one PostgreSQL against one: images a second, and none sent twice.

Each has four threads. The emulator takes 400 ms for a request, about as long as Cloudflare for a small image.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.measure import table
from tests.chaos import servers
from tests.chaos.processes import Site

_LATENCY = 0.4  # seconds
_CONSUMER = ("run_huey", "-k", "thread", "-w", "4", "-q")
_PATIENCE = 900  # seconds


def main() -> None:
    """Print one row for each number of consumers."""
    if refusal := servers.refusal("PostgreSQL", "Redis"):
        print(refusal)
        return
    rows = [_measure(consumers=1, images=500), _measure(consumers=4, images=2000)]
    table(
        ("consumers", "images", "seconds", "images a second", "requests", "sent twice", "stored twice"), rows
    )


def _measure(*, consumers: int, images: int) -> tuple[object, ...]:
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.postgresql() as database,
        servers.redis_huey() as huey,
        Site(Path(folder), database=database, huey=huey) as site,
    ):
        site.run("visitors", "1", str(images))
        site.set_faults(latency=_LATENCY)
        for _ in range(consumers):
            site.start(*_CONSUMER)
        site.wait_for("Starting", lambda: site.counters()["images"] >= consumers * 4, seconds=_PATIENCE)
        began, before = time.monotonic(), site.counters()["images"]
        site.wait_for("Uploading", lambda: site.counters()["images"] >= images, seconds=_PATIENCE)
        seconds = time.monotonic() - began
        site.wait_until_idle(seconds=_PATIENCE)
        counters = site.counters()
    rate = f"{(images - before) / seconds:.1f}"
    twice = counters["requests"] - images
    return consumers, images, f"{seconds:.0f}", rate, counters["requests"], twice, counters["duplicates"]
