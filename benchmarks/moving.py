"""Kill two imports over and over while the API fails: is anything lost or doubled?

5,000 images, half of them private, 30 % of requests faulty, 20 times ``kill -9``; ``--images``: fewer.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from benchmarks.measure import table
from tests.chaos import moving, servers


def main() -> None:
    """Print the counts for PostgreSQL where it can be used, else for SQLite."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=moving.LONG.images)
    move = replace(moving.LONG, images=parser.parse_args().images)
    refusal = servers.refusal("PostgreSQL")
    label, site = ("SQLite", moving.on_sqlite) if refusal else ("PostgreSQL", moving.on_postgresql)
    before = f"{os.getloadavg()[0]:.1f}"
    table(("", label), [*site(move).items(), ("load before", before)])
