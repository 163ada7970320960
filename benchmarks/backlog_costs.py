"""Measure what a backlog costs a worker and a page: ``python -m benchmarks.backlog_costs ROWS``.

``backlog`` starts it with the settings of ``tests.chaos``. It prints a table as JSON: the seconds of each
operation for five rows, for a twentieth of ``ROWS`` and for all of them, and the bytes that ``url()`` reads.
"""

from __future__ import annotations

import io
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice

import django
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from tests.chaos.__main__ import end_with_parent

django.setup()  # before the imports of models

from cf_images.accounts import find_account  # noqa: E402  # after django.setup()
from cf_images.background import destinations, leases, pending, status, timing, worker  # noqa: E402
from cf_images.images import names  # noqa: E402
from cf_images.models import State, Upload  # noqa: E402

_ALIAS = "cloudflare_images"
_FEW = 5
_TIMES = 100  # calls of what a worker does for each image
_SELDOM = 9  # calls of the rest
_BATCH = 5000

Figures = dict[str, float]


def main() -> None:
    """Print the figures for growing backlogs."""
    end_with_parent()
    timing.MAX_PAUSE = timedelta(hours=1)  # tests.chaos shortens it
    sizes = [_FEW, int(sys.argv[1]) // 20, int(sys.argv[1])]
    print(json.dumps([[rows, _measure(rows)] for rows in sizes]))


def _measure(rows: int) -> Figures:
    _fill(rows - Upload.objects.count(), now=timezone.now())
    _analyze()
    (account,) = (found for found in destinations.destinations() if found.accounts)
    due = iter(list(leases.due(account).values_list("pk", flat=True)[: _TIMES + 1]))
    return {
        "find": _median(lambda: leases.candidates(account), _TIMES),
        "claim": _median(lambda: leases.claim(next(due)), min(_TIMES, rows - 1)),
        "others": _median(worker.has_work_for_others, _TIMES),
        "next_due": _median(worker.next_due, _TIMES),
        "sweep": _median(worker.sweep, _SELDOM),
        "url": _median(lambda: pending._PendingNames()._read(), _SELDOM),
        "url_bytes": _bytes(lambda: pending._PendingNames()._read()),
        "status": _median(status, _SELDOM),
        "uploads": _median(_uploads, _SELDOM),
    }


def _uploads() -> None:
    try:
        call_command("cf_images", "uploads", stdout=io.StringIO(), stderr=io.StringIO())
    except SystemExit:
        pass  # the backlog is a problem


def _median(run: Callable[[], object], times: int) -> float:
    run()  # the first call may open a connection

    def seconds() -> float:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    return statistics.median(seconds() for _ in range(times))


def _bytes(run: Callable[[], object]) -> float:
    """Return the most bytes that Python held meanwhile."""
    tracemalloc.start()
    run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return float(peak)


def _fill(count: int, *, now: datetime) -> None:
    made = _rows(max(0, count), now)
    while batch := list(islice(made, _BATCH)):
        Upload.objects.bulk_create(batch)


def _rows(count: int, now: datetime) -> Iterator[Upload]:
    """Yield rows in the order in which a site makes them: of ten, three are pending, and two of these are due.

    Few rows are all due.
    """
    account = find_account(_ALIAS)
    assert account is not None
    for number in range(count):
        created_at = now - timedelta(seconds=count - number)
        is_pending, is_later = (True, False) if count <= _FEW else (number % 10 < 3, number % 10 == 0)
        next_attempt_at = now + timedelta(seconds=1800 if is_later else number - count)
        name = names.unique_name("avatars/jane.jpg", seconds=int(created_at.timestamp()))
        yield Upload(
            name=name,
            storage=_ALIAS,
            account=account.key,
            remote_id=name,
            token=f"{number:032x}",
            filename="jane.jpg",
            content_type="image/jpeg",
            size=50_000,
            sha256="0" * 64,
            state=State.PENDING if is_pending else State.STORED,
            next_attempt_at=next_attempt_at if is_pending else None,
            created_at=created_at,
            stored_at=None if is_pending else now,
        )


def _analyze() -> None:
    """Let the database learn what is in the table, as servers do by themselves after a while."""
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute("ANALYZE TABLE cf_images_upload")
            cursor.fetchall()
        else:
            vacuum = "VACUUM " if connection.vendor == "postgresql" else ""
            cursor.execute(f"{vacuum}ANALYZE cf_images_upload")


if __name__ == "__main__":
    main()
