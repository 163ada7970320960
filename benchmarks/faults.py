"""How soon all images are stored while Cloudflare fails at random, with and without kills of the workers.

200 images, two of five requests faulty (500, 502 with HTML, connections that break before and after a request
took effect, truncated responses, 429 with ``Retry-After: 1``), all durations as they are in production.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.measure import table
from tests.chaos import servers
from tests.chaos.scenario import HUEY, LOOP, Plan, run

_FAULTS = ("500", "html_502", "reset_before", "reset_after", "cut")
_FAULTY = 0.4
_TARGETS = {15: 90, 0: 60}  # seconds after the last kill, by the number of kills
_SITES = {
    "SqliteHuey on SQLite": ((), HUEY),
    "Redis and PostgreSQL": (("PostgreSQL", "Redis"), HUEY),
    "`process --loop` on PostgreSQL": (("PostgreSQL", "Redis"), LOOP),
}


def main() -> None:
    """Print a row for each site, without kills and with fifteen."""
    rows = []
    for label, (needed, consumer) in _SITES.items():
        if refusal := servers.refusal(*needed):
            print(refusal)
            continue
        rows += [_row(label, kills, needed=needed, consumer=consumer) for kills in _TARGETS]
    head = (
        "site",
        "kill -9",
        "faulty",
        "lost",
        "doubled",
        "pending",
        "seconds after the last kill",
        "target",
    )
    table(head, rows)


def _row(label: str, kills: int, *, needed: tuple[str, ...], consumer: tuple[str, ...]) -> tuple[Any, ...]:
    found = _run(kills, needed=needed, consumer=consumer)
    print(label, found, file=sys.stderr, flush=True)
    counts = (
        found[key] for key in ("faulty requests", "lost", "doubled", "pending", "… after the last kill")
    )
    return (label, kills, *counts, f"≤ {_TARGETS[kills]}")


def _run(kills: int, *, needed: tuple[str, ...], consumer: tuple[str, ...]) -> dict[str, Any]:
    plan = Plan(
        faulty=_FAULTY,
        limited=_FAULTY / (len(_FAULTS) + 1),
        kinds=_FAULTS,
        kills=kills,
        patience=600,
        haste=1,
        plain=True,
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database: Any = servers.sqlite(folder)
        huey: Any = servers.sqlite_huey(folder)
        if needed:
            database = stack.enter_context(servers.postgresql())
            huey = stack.enter_context(servers.redis_huey())
        return run(plan, folder, database=database, huey=huey, consumer=consumer)
