"""Kill imports over and over while the API fails, and count what is lost or doubled."""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos import servers
from tests.chaos.processes import Site
from tests.chaos.scenario import HASTE, Plan

_AT_ONCE = 2  # processes
_BYTES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The size of a run: half of the images are private. ``latency`` is that of a request, in seconds."""

    images: int = 200
    faulty: float = 0.3
    kills: int = 20
    threads: int = 2
    latency: float = 0.2
    seed: int = 1
    patience: float = 240


LONG = Move(images=5000, threads=4, latency=0.04, patience=1800)


def on_sqlite(move: Move) -> dict[str, Any]:
    """Run it on SQLite."""
    with tempfile.TemporaryDirectory() as name:
        return run(move, Path(name), database=servers.sqlite(Path(name)))


def on_postgresql(move: Move) -> dict[str, Any]:
    """Run it on PostgreSQL."""
    with tempfile.TemporaryDirectory() as name, servers.postgresql() as database:
        return run(move, Path(name), database=database)


def run(move: Move, folder: Path, *, database: Any) -> dict[str, Any]:
    """Import with two processes that are killed and started again, verify, and return the counts."""
    began = time.monotonic()
    with Site(folder, database=database, huey=servers.sqlite_huey(folder), haste=HASTE) as site:
        site.run("library", str(move.images // 2), str(move.images - move.images // 2), str(_BYTES))
        faults = Plan(faulty=move.faulty, seed=move.seed).faults
        site.set_faults(**{**faults, "latency": move.latency})
        killed, leased = _kill(site, move)
        counters = site.counters()
        site.set_faults(rates={}, latency=0)
        verified = site.run("cf_images", "verify", "--bytes").strip()
        found = site.ask("moved") | {"images with the bytes of another": site.counters()["duplicates"]}
    faulty = sum(counters["faults"].values())
    return {
        "images": move.images,
        "requests": counters["requests"],
        "faulty requests": f"{faulty} ({faulty / counters['requests']:.0%})",
        "kill -9": killed,
        "rows leased when killed": leased,
        **found,
        "verify --bytes": verified.splitlines()[-1],
        "seconds": round(time.monotonic() - began),
    }


def _kill(site: Site, move: Move) -> tuple[int, int]:
    """Kill the older of the imports and start another, again and again, and let them end.

    Return how many were killed before they had ended, and how many rows were leased at that moment.
    """
    chance, killed, leased = random.Random(move.seed), 0, 0
    running = [_start(site, move) for _ in range(_AT_ONCE)]
    for number in range(move.kills):
        goal = move.images * (number + 1) // (move.kills + 1) + chance.randrange(5)
        _wait_for_request(site, goal, running[0], seconds=move.patience)
        killed += running[0].poll() is None
        running[0].kill()
        running[0].wait()
        leased += site.ask("moving")["leased"]
        running = [*running[1:], _start(site, move)]
    deadline = time.monotonic() + move.patience
    while any(statuses := [process.wait(move.patience) for process in running]):
        # An import leaves to the next one what has failed often.
        if time.monotonic() > deadline:
            raise TimeoutError(f"The imports ended with {statuses}; {site.last_lines()}")
        running = [_start(site, move) for _ in range(_AT_ONCE)]
    return killed, leased


def _wait_for_request(site: Site, number: int, running: subprocess.Popen[str], *, seconds: float) -> None:
    site.wait_for(
        "The import",
        lambda: running.poll() is not None or site.counters()["requests"] >= number,
        seconds=seconds,
    )


def _start(site: Site, move: Move) -> subprocess.Popen[str]:
    return site.start("cf_images", "import", "--threads", str(move.threads))
