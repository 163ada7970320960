"""What background uploads cost a request, a page and a process, on each database that can be used."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.measure import table
from tests.chaos import servers
from tests.chaos.pictures import jpeg
from tests.chaos.processes import Site

_LATENCY = {"latency": 0.04, "connect_latency": 0.08}  # seconds
_TIMEOUT = 5  # seconds, an option of the storage; the default is a minute
_MB = 1024 * 1024
_BACKGROUND, _DIRECT = "cloudflare_images", "direct"


def main() -> None:
    """Print one table, a column for each database."""
    columns: dict[str, dict[str, str]] = {"SQLite, SqliteHuey": _measure("sqlite")}
    if refusal := servers.refusal("PostgreSQL", "Redis"):
        print(f"{refusal}\n")
    else:
        columns["PostgreSQL, Redis"] = _measure("servers")
    first, *_ = columns.values()
    table(("", *columns), [(row, *(found[row] for found in columns.values())) for row in first])


def _measure(where: str) -> dict[str, str]:
    with _site(where) as site:
        return {**_saving(site), **_urls(site), **_memory(site)}


def _saving(site: Site) -> dict[str, str]:
    site.set_faults(**_LATENCY)
    direct, background = _ask(site, "saving", _DIRECT), _ask(site, "saving", _BACKGROUND)
    site.set_faults(latency=3600)
    site.options["timeout"] = _TIMEOUT
    hanging = {alias: _ask(site, "hanging", alias)["seconds"] for alias in (_DIRECT, _BACKGROUND)}
    site.set_faults(latency=0, connect_latency=0)
    return {
        "`save()` direct, connection open": f"{direct['open'] * 1e3:.0f} ms",
        "`save()` direct, new connection": f"{direct['new'] * 1e3:.0f} ms",
        "`save()` in the background": f"{background['open'] * 1e3:.0f} ms",
        f"direct, Cloudflare hangs (timeout of {_TIMEOUT} s)": f"{hanging[_DIRECT]:.1f} s",
        "in the background, Cloudflare hangs": f"{hanging[_BACKGROUND] * 1e3:.0f} ms",
    }


def _urls(site: Site) -> dict[str, str]:
    found = {}
    for rows in (0, 10_000):
        cost = _ask(site, "urls", str(rows))
        found["`url()` direct"] = f"{cost['direct'] * 1e6:.1f} µs"
        found[f"`url()`, {rows:,} rows pending"] = f"{cost['url'] * 1e6:.1f} µs"
        found[f"… the call that reads them, every 10 s, {rows:,} rows"] = f"{cost['reading'] * 1e3:.1f} ms"
    return found


def _memory(site: Site) -> dict[str, str]:
    site.run("flush", "--no-input", "--verbosity", "0")
    path = site.folder / "large.jpg"
    path.write_bytes(jpeg(640, 480, at_least=10 * _MB))
    return {
        "memory of 10 MB, web process": f"{_ask(site, 'memory_of_web', str(path))['bytes'] / _MB:.1f} MB",
        "memory of 10 MB, worker": f"{_ask(site, 'memory_of_worker')['bytes'] / _MB:.1f} MB",
    }


def _ask(site: Site, *question: str) -> dict[str, float]:
    return dict(json.loads(site.run(*question, module="benchmarks.background_costs")))


@contextmanager
def _site(where: str) -> Iterator[Site]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if where == "sqlite":
            database, huey = servers.sqlite(folder), servers.sqlite_huey(folder)
        else:
            database, huey = (
                stack.enter_context(made()) for made in (servers.postgresql, servers.redis_huey)
            )
        yield stack.enter_context(Site(folder, database=database, huey=huey))
