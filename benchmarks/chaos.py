"""Kill the workers of a site over and over while the API fails: is anything lost or doubled?

``python -m benchmarks chaos``: 200 uploads, 35 % of requests faulty, 20 times ``kill -9``, under two minutes.
``python -m benchmarks chaos --long``: 2,000 uploads, 50 %, 100 times.
"""

from __future__ import annotations

import sys

from benchmarks.measure import table
from tests.chaos import servers
from tests.chaos.scenario import LONG, Plan, on_mariadb, on_servers, on_sqlite


def main() -> None:
    """Print the counts for SQLite, and for PostgreSQL with Redis and MariaDB where they can be used."""
    plan = LONG if "--long" in sys.argv else Plan()
    table(("", "SQLite, SqliteHuey"), list(on_sqlite(plan).items()))
    for label, site, names in (
        ("PostgreSQL, Redis", on_servers, ("PostgreSQL", "Redis")),
        ("MariaDB, process --loop", on_mariadb, ("MariaDB",)),
    ):
        print(flush=True)
        if refusal := servers.refusal(*names):
            print(refusal)
        else:
            table(("", label), list(site(plan).items()))
