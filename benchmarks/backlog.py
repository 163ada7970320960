"""What a backlog of a million rows costs a worker and a page, beside five rows, on each database.

Each database is a new one, and dropped at the end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import table
from tests.chaos import servers
from tests.chaos.processes import Site

_ROWS = 1_000_000
_DATABASES = ("PostgreSQL", "MariaDB", "SQLite")
_WORKER = {  # what is measured; the most milliseconds that are wanted with all rows
    "find": ("find the next row", 2),
    "claim": ("claim it", 2),
    "others": ("is there work for another worker?", 2),
    "next_due": ("when is the next row due?", 2),
    "sweep": ("the sweep, each minute", 10),
    "url": ("the read behind `url()`, every ten seconds", 5),
}
_DISPLAYS = {"status": ("`status()`", 60), "uploads": ("`cf_images uploads`", 60)}  # with a twentieth of them
_MB = 1_000_000
_SAME = 1.3  # a ratio that is noise


def main() -> None:
    """Print a table: milliseconds, medians, and the ratio to five rows; ``--rows`` is the largest backlog."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=_ROWS)
    rows = parser.parse_args().rows
    found = []
    for database in _DATABASES:
        if database != "SQLite" and (refusal := servers.refusal(database)):
            print(f"{refusal}\n")
            continue
        found += _table(database, _measure(database, rows))
    sizes = (f"{rows // 20:,}", f"{rows:,}")
    table(("database", "operation", "5 rows", *sizes, "ratio", "target", "met?"), found)


def _table(database: str, figures: list[dict[str, float]]) -> Iterator[tuple[object, ...]]:
    few, some, all_rows = figures
    for size, operations in ((all_rows, _WORKER), (some, _DISPLAYS)):
        for key, (name, target) in operations.items():
            times = [f"{found[key] * 1000:.2f} ms" for found in figures]
            ratio = size[key] / few[key]
            yield database, name, *times, f"{ratio:.1f}", f"≤ {target} ms", _verdict(size[key], target, ratio)
    sizes = [f"{found['url_bytes'] / _MB:.2f} MB" for found in figures]
    yield database, "… its memory", *sizes, "", "≤ 1 MB", "yes" if all_rows["url_bytes"] <= _MB else "no"


def _verdict(seconds: float, target: float, ratio: float) -> str:
    if seconds * 1000 <= target:
        return "yes"
    return "as slow with 5 rows" if ratio <= _SAME else "no"  # a machine with other things to do


def _measure(database: str, rows: int) -> list[dict[str, float]]:
    """Return the figures for five rows, for a twentieth of ``rows``, and for all of them."""
    with _site(database) as site:
        output = site.run(str(rows), module="benchmarks.backlog_costs")
    return [figures for _, figures in json.loads(output)]


@contextmanager
def _site(database: str) -> Iterator[Site]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        chosen: Any = servers.sqlite(folder)
        if database != "SQLite":
            chosen = stack.enter_context(getattr(servers, database.lower())())
        huey = {"huey_class": "huey.MemoryHuey"}
        yield stack.enter_context(Site(folder, database=chosen, huey=huey))
