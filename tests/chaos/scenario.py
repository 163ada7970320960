"""Kill the workers of a site over and over while its API fails, and count what is lost or doubled."""

from __future__ import annotations

import http.server
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos import servers
from tests.chaos.pictures import picture
from tests.chaos.processes import Site

HASTE = 10  # a lease of five seconds, a request's deadline of four, a sweep every six
_SWEEP = 1.0  # seconds; six would be in proportion
_KINDS = ("500", "html_502", "internal_5550", "reset_before", "reset_after", "cut", "slow")
_VISITORS = 2
HUEY = ("run_huey", "-k", "thread", "-w", "4", "-m", "1", "-q")
LOOP = ("cf_images", "process", "--loop", "--workers", "4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The size of a run; ``faulty`` is a share of the requests, and ``kills`` the number of kills.

    ``limited`` is the part of ``faulty`` that is HTTP 429, ``haste`` divides all durations. Plain uploads are
    public images from files, and none is deleted.
    """

    uploads: int = 200
    faulty: float = 0.35
    limited: float = 0.02  # each pauses all workers for a second
    kinds: tuple[str, ...] = _KINDS
    kills: int = 20
    seed: int = 1
    patience: float = 240  # seconds until the last image must be stored
    haste: float = HASTE
    plain: bool = False

    @property
    def faults(self) -> dict[str, Any]:
        """Return the faults for the emulator; ``stale`` adds to them, and only for images just uploaded."""
        each = (self.faulty - self.limited) / len(self.kinds)
        rates = {"429": self.limited} | dict.fromkeys(self.kinds, each) | {"stale": 0.1}
        return {
            "rates": rates,
            "seed": self.seed,
            "latency": 0.005,
            "byte_seconds": 0.002,
            "stale_seconds": 2,
        }


LONG = Plan(uploads=2000, faulty=0.5, kills=100, patience=1800)


def on_sqlite(plan: Plan) -> dict[str, Any]:
    """Run the plan on SQLite and SqliteHuey."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return run(plan, folder, database=servers.sqlite(folder), huey=servers.sqlite_huey(folder))


def on_servers(plan: Plan) -> dict[str, Any]:
    """Run the plan on PostgreSQL and Redis."""
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.postgresql() as database,
        servers.redis_huey() as huey,
    ):
        return run(plan, Path(folder), database=database, huey=huey)


def on_mariadb(plan: Plan) -> dict[str, Any]:
    """Run the plan on MariaDB, with ``process --loop`` in place of huey's consumer."""
    with tempfile.TemporaryDirectory() as name, servers.mariadb() as database:
        folder = Path(name)
        huey = servers.sqlite_huey(folder)
        return run(plan, folder, database=database, huey=huey, consumer=LOOP)


def run(
    plan: Plan, folder: Path, *, database: Any, huey: Any, consumer: tuple[str, ...] = HUEY
) -> dict[str, Any]:
    """Upload, kill the worker again and again, wait until nothing is pending, and return the counts."""
    began = time.monotonic()
    with Site(folder, database=database, huey=huey, haste=plan.haste) as site, _sources() as sources:
        site.set_faults(**plan.faults)
        ledger = folder / "ledger.jsonl"
        with ledger.open("a") as output:
            share = plan.uploads // _VISITORS
            firsts = (plan.seed * 10_000_000 + share * number for number in range(_VISITORS))
            visitors = [
                site.start("visitors", str(first), str(share), "" if plan.plain else sources, output=output)
                for first in firsts
            ]
            if plan.haste > 1:  # huey sweeps each minute, however hasty the rest is
                site.start("sweep", str(_SWEEP))
            leased = _kill(site, plan, consumer)
            killed_at = time.monotonic()
            for visitor in visitors:
                if visitor.wait(plan.patience):
                    raise RuntimeError(f"A visitor failed; {site.last_lines()}")
        site.wait_until_idle(seconds=plan.patience)
        idle_at = time.monotonic()
        counters = site.counters()
        site.set_faults(rates={}, latency=0)
        found = site.ask("report", str(ledger))
    faulty = sum(counters["faults"].values())
    return {
        "uploads": found.pop("uploads"),
        "requests": counters["requests"],
        "faulty requests": f"{faulty} ({faulty / counters['requests']:.0%})",
        **{f"… {kind}": counters["faults"].get(kind, 0) for kind in ("429", *plan.kinds, "stale")},
        "kill -9": plan.kills,
        "rows leased when killed": leased,
        **found,
        "seconds": round(time.monotonic() - began),
        "… after the last kill": round(idle_at - killed_at),
    }


def _kill(site: Site, plan: Plan, command: tuple[str, ...]) -> int:
    """Start, let work and kill a consumer, again and again; return how many rows were leased at the kills.

    The next consumer is started before the kill, so that no time is lost while it starts.
    """
    chance, leased, consumer = random.Random(plan.seed), 0, site.start(*command)
    if not plan.kills:
        return 0
    following = site.start(*command)
    for _ in range(plan.kills):
        goal = site.counters()["requests"] + plan.uploads // plan.kills + chance.randrange(5)
        _wait_for_request(site, goal, seconds=plan.patience)
        consumer.kill()
        consumer.wait()
        leased += site.ask("pending")["leased"]
        consumer, following = following, site.start(*command)
    return leased


def _wait_for_request(site: Site, number: int, *, seconds: float) -> None:
    site.wait_for("The consumer", lambda: site.counters()["requests"] >= number, seconds=seconds)


@contextmanager
def _sources() -> Iterator[str]:
    """Yield the URL of a server that has every image by its number, for uploads by URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = picture(int(Path(self.path).stem))
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
