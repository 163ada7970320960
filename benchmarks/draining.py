"""How fast a backlog drains: beside the rate that an edge allows, and beside a bare pooled httpx loop.

Each row starts a site on PostgreSQL and Redis where they are there, else on SQLite, with pending images and
real consumers (``run_huey``) or ``process --loop``, and counts what the emulator stores. A request takes
40 ms. The bare loop has as many threads, and no limit.

``--matrix`` takes every combination of workers, processes and limits; ``--long`` drains 6,000 images at the
rate that Cloudflare documents, while the site sends requests of its own (35 minutes).
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.measure import compared, table
from tests.chaos import servers
from tests.chaos.pictures import picture
from tests.chaos.processes import Site

_LATENCY = 0.04  # seconds a request
_DOCUMENTED = (1200, 300.0)  # requests in seconds, then a ban of five minutes
_SITE_PAUSE = 2.0  # seconds between the requests of the site itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An edge that allows ``rate`` requests a second (``None``: any), and the consumers of a site."""

    rate: int | None
    processes: int
    workers: int
    api_rate: tuple[float, float] | None = None
    loop: bool = False

    @property
    def images(self) -> int:
        """About half a minute of what is allowed."""
        return min(30 * (self.rate or 1000), 120 * self.processes * min(self.workers, 8))

    @property
    def label(self) -> tuple[str, str, str]:
        """What the table says of it."""
        kind = "process --loop" if self.loop else "run_huey"
        setting = "None" if self.api_rate is None else f"{self.api_rate[0]:g} in {self.api_rate[1]:g} s"
        edge = f"{self.rate} a second" if self.rate else "none"
        return f"{kind}, {self.processes} × {self.workers} threads", edge, setting


CASES = (
    Case(rate=10, processes=1, workers=4, api_rate=(10, 1)),
    Case(rate=10, processes=1, workers=4),
    Case(rate=10, processes=1, workers=4, loop=True),
    Case(rate=2, processes=1, workers=4),
    Case(rate=100, processes=4, workers=4),
    Case(rate=None, processes=1, workers=1),
    Case(rate=None, processes=1, workers=4),
)
MATRIX = tuple(
    Case(rate=rate, processes=processes, workers=workers)
    for processes in (1, 4)
    for workers in (1, 4, 16)
    for rate in (2, 10, 100, None)
)
_HEAD = ("consumers", "limit", "`API_RATE`", "stored a second", "possible", "ratio", "429")


def main() -> None:
    """Print a row a case: images a second, what was possible, and the responses with 429."""
    if "--long" in sys.argv:
        _drain_at_the_documented_rate()
        return
    rows, bare = [], _BareLoops()
    for case in MATRIX if "--matrix" in sys.argv else CASES:
        seconds, limited = _run(case)
        rate = case.images / seconds
        possible = min(case.rate or bare.rate(case), bare.rate(case))
        rival = "what is allowed" if possible == case.rate else "bare httpx loop, as many threads"
        compared(f"draining by {case.label[0]}, limit: {case.label[1]}", rival, possible / rate, peer=False)
        rows.append((*case.label, f"{rate:.1f}", f"{possible:.1f}", f"{rate / possible:.0%}", limited))
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    table(_HEAD, rows)


def _run(case: Case) -> tuple[float, int]:
    """Return the seconds from the first image to the last, and how many requests were limited."""
    edge = (case.rate, 1.0) if case.rate else None
    with _site(api_rate=case.api_rate, edge_rate=edge) as site:
        site.run("visitors", "1", str(case.images + 1))
        if case.loop:
            command = ("cf_images", "process", "--loop", "--workers", str(case.workers))
        else:
            command = ("run_huey", "-k", "thread", "-w", str(case.workers), "-q")
        for _ in range(case.processes):
            site.start(*command)
        _wait_for_images(site, 1, seconds=60)
        began, first = time.monotonic(), site.counters()["images"]  # a consumer takes some seconds to start
        _wait_for_images(site, case.images + 1, seconds=300)
        seconds = (time.monotonic() - began) * case.images / (case.images + 1 - first)
        return seconds, site.counters()["statuses"].get("429", 0)


def _wait_for_images(site: Site, number: int, *, seconds: float) -> None:
    site.wait_for(f"{number} images", lambda: site.counters()["images"] >= number, seconds=seconds)


class _BareLoops:
    """The images a second of a bare loop with as many threads in one process, each measured once."""

    def __init__(self) -> None:
        self._known: dict[int, float] = {}

    def rate(self, case: Case) -> float:
        threads = case.processes * case.workers
        if threads not in self._known:
            with _site() as site:
                self._known[threads] = _bare_rate(site, threads)
        return self._known[threads]


def _bare_rate(site: Site, threads: int) -> float:
    client, count = httpx.Client(limits=httpx.Limits(max_connections=threads)), 100 * threads

    def post(number: int) -> None:
        file = {"file": (f"{number}.jpg", io.BytesIO(picture(number)), "image/jpeg")}
        client.post(_url(site), headers=_headers(site), files=file, timeout=60).raise_for_status()

    with client, ThreadPoolExecutor(threads) as pool:
        list(pool.map(post, range(threads)))
        began = time.monotonic()
        list(pool.map(post, range(threads, threads + count)))
        return count / (time.monotonic() - began)


def _drain_at_the_documented_rate() -> None:
    images, refused, sent = 6000, 0, 0
    with _site(api_rate=_DOCUMENTED, edge_rate=_DOCUMENTED) as site, httpx.Client() as client:
        site.run("visitors", "1", str(images))
        site.start("run_huey", "-k", "thread", "-w", "4", "-q")
        began = time.monotonic()
        while (stored := site.counters()["images"]) < images:
            response = client.get(f"{_url(site)}/stats", headers=_headers(site), timeout=60)
            sent, refused = sent + 1, refused + (response.status_code == httpx.codes.TOO_MANY_REQUESTS)
            if sent % 150 == 0:
                print(stored, refused, site.counters()["statuses"], file=sys.stderr, flush=True)
            time.sleep(_SITE_PAUSE)
        seconds = time.monotonic() - began
        limited = site.counters()["statuses"].get("429", 0)
    head = ("images", "minutes", "of the documented rate", "429", "requests of the site", "of them refused")
    share = images / seconds / (_DOCUMENTED[0] / _DOCUMENTED[1])
    table(head, [(f"{images:,}", f"{seconds / 60:.0f}", f"{share:.0%}", limited, sent, refused)])


def _url(site: Site) -> str:
    return f"{site.options['api_url']}/accounts/{site.options['account_id']}/images/v1"


def _headers(site: Site) -> dict[str, str]:
    return {"Authorization": f"Bearer {site.options['api_token']}"}


@contextmanager
def _site(**options: Any) -> Iterator[Site]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database: Any = servers.sqlite(folder)
        huey: Any = servers.sqlite_huey(folder)
        if not servers.refusal("PostgreSQL", "Redis"):
            database = stack.enter_context(servers.postgresql())
            huey = stack.enter_context(servers.redis_huey())
        site = stack.enter_context(Site(folder, database=database, huey=huey, **options))
        site.set_faults(latency=_LATENCY)
        yield site
