"""A site whose worker is killed over and over, and a Cloudflare that fails: is anything lost or doubled?

``python -m benchmarks chaos``: 200 uploads, 35 % of requests faulty, 20 times ``kill -9``, under two minutes.
``python -m benchmarks chaos --long``: 2,000 uploads, 50 %, 100 times.
"""

from __future__ import annotations

import http.server
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import servers
from benchmarks.measure import table
from benchmarks.processes import Site
from benchmarks.site.pictures import picture

HASTE = 20  # a lease of nine seconds, a request's deadline of three, a sweep every three
_SWEEP = 1.0  # seconds; three would be in proportion
_KINDS = ("500", "html_502", "internal_5550", "reset_before", "reset_after", "cut", "slow")
_VISITORS = 2
_CONSUMER = ("run_huey", "-k", "thread", "-w", "4", "-m", "1", "-q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of everything; ``faulty`` is the share of requests, ``kills`` at least so many."""

    uploads: int = 200
    faulty: float = 0.35
    kills: int = 20
    seed: int = 1
    patience: float = 240  # seconds, until the last image must have arrived

    @property
    def faults(self) -> dict[str, Any]:
        """For the emulator; ``stale`` strikes only where a fresh image is asked for, and then in addition."""
        rare = {"429": 0.02}  # each stops all workers for a second
        rates = rare | {kind: (self.faulty - 0.02) / len(_KINDS) for kind in _KINDS} | {"stale": 0.1}
        return {
            "rates": rates,
            "seed": self.seed,
            "latency": 0.005,
            "byte_seconds": 0.002,
            "stale_seconds": 2,
        }


LONG = Plan(uploads=2000, faulty=0.5, kills=100, patience=1800)


def main() -> None:
    """Print the figures for SQLite, and for PostgreSQL with Redis where they answer."""
    plan = LONG if "--long" in sys.argv else Plan()
    table(("", "SQLite, SqliteHuey"), list(on_sqlite(plan).items()))
    print(flush=True)
    if refusal := servers.refusal("PostgreSQL", "Redis"):
        print(refusal)
    else:
        table(("", "PostgreSQL, Redis"), list(on_servers(plan).items()))


def on_sqlite(plan: Plan) -> dict[str, Any]:
    """Break a site of one machine."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return run(plan, folder, database=servers.sqlite(folder), huey=servers.sqlite_huey(folder))


def on_servers(plan: Plan) -> dict[str, Any]:
    """Break a site on PostgreSQL and Redis."""
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.postgresql() as database,
        servers.redis_huey() as huey,
    ):
        return run(plan, Path(folder), database=database, huey=huey)


def run(plan: Plan, folder: Path, *, database: Any, huey: Any) -> dict[str, Any]:
    """Let people upload, kill the worker, wait until all is quiet, and count."""
    began = time.monotonic()
    with Site(folder, database=database, huey=huey, haste=HASTE) as site, _sources() as sources:
        site.set_faults(**plan.faults)
        ledger = folder / "ledger.jsonl"
        with ledger.open("a") as told:
            share = plan.uploads // _VISITORS
            firsts = (plan.seed * 10_000_000 + share * number for number in range(_VISITORS))
            visitors = [
                site.start("visitors", str(first), str(share), sources, output=told) for first in firsts
            ]
            site.start("sweep", str(_SWEEP))
            held = _kill(site, plan)
            for visitor in visitors:
                if visitor.wait(plan.patience):
                    raise RuntimeError(f"A visitor has failed; {site.last_lines()}")
        site.wait_until_delivered(seconds=plan.patience)
        counted = site.counters()
        site.set_faults(rates={}, latency=0)
        found = site.ask("report", str(ledger))
    faulty = sum(counted["faults"].values())
    return {
        "uploads": found.pop("uploads"),
        "requests": counted["requests"],
        "faulty requests": f"{faulty} ({faulty / counted['requests']:.0%})",
        **{f"… {kind}": counted["faults"].get(kind, 0) for kind in ("429", *_KINDS, "stale")},
        "kill -9": plan.kills,
        "rows held when killed": held,
        **found,
        "seconds": round(time.monotonic() - began),
    }


def _kill(site: Site, plan: Plan) -> int:
    """Start the consumer, let it work, kill it, again and again; how many rows it held all in all.

    The next one is started before, so that the time in which it starts is not lost.
    """
    chance, held = random.Random(plan.seed), 0
    consumer, following = site.start(*_CONSUMER), site.start(*_CONSUMER)
    for _ in range(plan.kills):
        goal = site.counters()["requests"] + plan.uploads // plan.kills + chance.randrange(5)
        _wait_for_request(site, goal, seconds=plan.patience)
        consumer.kill()
        consumer.wait()
        held += site.ask("moving")["held"]
        consumer, following = following, site.start(*_CONSUMER)
    return held


def _wait_for_request(site: Site, number: int, *, seconds: float) -> None:
    site.wait_for("The consumer", lambda: site.counters()["requests"] >= number, seconds=seconds)


@contextmanager
def _sources() -> Iterator[str]:
    """The address of a server that has every picture under its number, for uploads by URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = picture(int(Path(self.path).stem))
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
