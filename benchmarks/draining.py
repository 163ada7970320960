"""How fast a backlog drains: beside the rate that an edge allows, and beside a bare pooled httpx loop.

Each row starts a site on PostgreSQL and Redis where they are there, else on SQLite, with pending images and
real consumers (``run_huey``) or ``process --loop``, and counts what the emulator stores.
"""

from __future__ import annotations

import io
import math
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import table
from tests.chaos import servers
from tests.chaos.pictures import picture
from tests.chaos.processes import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An edge that allows ``rate`` requests a second (``None``: any), and the consumers of a site."""

    rate: int | None
    processes: int
    workers: int
    api_rate: tuple[float, float] | None
    images: int
    loop: bool = False

    @property
    def label(self) -> str:
        """What the table says of it."""
        kind = "process --loop" if self.loop else "run_huey"
        edge = f"{self.rate}/s" if self.rate else "none"
        setting = "None" if self.api_rate is None else f"{self.api_rate[0]:g}/{self.api_rate[1]:g} s"
        return f"{kind}, {self.processes} × {self.workers}, edge {edge}, API_RATE {setting}"


CASES = (
    Case(rate=10, processes=1, workers=4, api_rate=(10, 1), images=200),
    Case(rate=10, processes=1, workers=4, api_rate=None, images=200),
    Case(rate=10, processes=1, workers=4, api_rate=None, images=200, loop=True),
    Case(rate=10, processes=4, workers=1, api_rate=None, images=200),
    Case(rate=2, processes=1, workers=4, api_rate=None, images=60),
    Case(rate=100, processes=4, workers=4, api_rate=None, images=1500),
    Case(rate=None, processes=1, workers=4, api_rate=None, images=1000),
)


def main() -> None:
    """Print a row a case: images a second, what was allowed, and the responses with 429."""
    rows = []
    for case in CASES:
        seconds, limited, bare = _run(case)
        rate = case.images / seconds
        allowed = min(case.rate or bare, bare)
        rows.append((case.label, f"{rate:.1f}/s", f"{allowed:.1f}/s", f"{rate / allowed:.0%}", limited))
        table(("consumers", "stored", "allowed or bare loop", "ratio", "429"), rows[-1:])
    table(("consumers", "stored", "allowed or bare loop", "ratio", "429"), rows)


def _run(case: Case) -> tuple[float, int, float]:
    with _site(case) as site:
        site.run("visitors", "1", str(case.images))
        bare = _bare_rate(site, case) if case.rate is None else math.inf
        if case.loop:
            command = ("cf_images", "process", "--loop", "--workers", str(case.workers))
        else:
            command = ("run_huey", "-k", "thread", "-w", str(case.workers), "-q")
        for _ in range(case.processes):
            site.start(*command)
        before = site.counters()["images"]
        site.wait_for("A consumer", lambda: site.counters()["images"] > before, seconds=60)
        began = time.monotonic()  # a consumer takes some seconds to start
        site.wait_for("Draining", lambda: site.counters()["images"] - before >= case.images, seconds=200)
        return time.monotonic() - began, site.counters()["statuses"].get("429", 0), bare


def _bare_rate(site: Site, case: Case) -> float:
    """Return the images a second of a bare loop with as many threads, without a limit."""
    import httpx

    url = f"{site.options['api_url']}/accounts/{site.options['account_id']}/images/v1"
    headers = {"Authorization": f"Bearer {site.options['api_token']}"}
    client, body, count = httpx.Client(), picture(1), 200

    def post(number: int) -> None:
        file = {"file": (f"{number}.jpg", io.BytesIO(body), "image/jpeg")}
        client.post(url, headers=headers, files=file).raise_for_status()

    with ThreadPoolExecutor(case.processes * case.workers) as pool:
        began = time.monotonic()
        list(pool.map(post, range(count)))
        return count / (time.monotonic() - began)


@contextmanager
def _site(case: Case) -> Iterator[Site]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database: Any = servers.sqlite(folder)
        huey: Any = servers.sqlite_huey(folder)
        if not servers.refusal("PostgreSQL", "Redis"):
            database = stack.enter_context(servers.postgresql())
            huey = stack.enter_context(servers.redis_huey())
        yield stack.enter_context(
            Site(folder, database=database, huey=huey, api_rate=case.api_rate, edge_rate=case.rate)
        )
