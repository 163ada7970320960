"""One process of a site: run a subcommand that transfers files, and print what it cost as JSON.

The time is without that of starting Python and Django; the memory is over that of the same command with
nothing to do.
"""

from __future__ import annotations

import io
import json
import resource
import sys
import time
from collections import Counter
from typing import Any

import django

_NOTHING = "chaos.Nothing.image"


def main() -> None:
    """Run ``cf_images`` with the arguments."""
    django.setup()
    from django.core.management import call_command
    from django.db.backends.signals import connection_created

    queries = Counter[str]()

    def count(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        queries[sql.partition(" ")[0]] += 1
        return execute(sql, params, many, context)

    def watch(connection: Any, **_: Any) -> None:
        if count not in connection.execute_wrappers:  # it has been connected again
            connection.execute_wrappers.append(count)

    call_command("cf_images", sys.argv[1], _NOTHING, stdout=io.StringIO())
    connection_created.connect(watch, weak=False)
    idle, began = _memory(), time.monotonic()
    call_command("cf_images", *sys.argv[1:], stdout=sys.stderr)
    found = {"seconds": time.monotonic() - began, "over_idle": _peak() - idle, "queries": queries.total()}
    print(json.dumps(found))


def _memory() -> float:
    """Return the bytes that this process has in memory now."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * float(resource.getpagesize())


def _peak() -> float:
    """Return the most bytes that this process has had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


if __name__ == "__main__":
    main()
