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
from collections.abc import Callable
from datetime import datetime, timedelta

import django
from django.core.management import call_command
from django.db import connection
from django.db.models import Expression, F, QuerySet, Value
from django.db.models.functions import Concat, Right
from django.utils import timezone

from tests.chaos.__main__ import end_with_parent

django.setup()  # before the imports of models

from cf_images.accounts import find_account  # noqa: E402  # after django.setup()
from cf_images.background import (  # noqa: E402  # after django.setup()
    destinations,
    leases,
    pending,
    status,
    timing,
    worker,
)
from cf_images.images import names  # noqa: E402  # after django.setup()
from cf_images.models import State, Upload  # noqa: E402  # after django.setup()

_ALIAS = "cloudflare_images"
_FEW = 5
_TIMES = 100  # calls of what a worker does for each image
_SELDOM = 9  # calls of the rest
_BATCH = 1000

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
    account = next(found for found in destinations.destinations() if found.accounts)
    due = list(leases.due(account)[0].values_list("pk", flat=True)[: _TIMES + 1])
    claims, following = len(due) - 1, iter(due)
    return {
        "find": _median(lambda: leases.Backlog(account.rows).has_candidates(), _TIMES),
        "claim": _median(lambda: leases.claim(Upload, [next(following)]), claims),
        "others": _median(worker.has_work_for_others, _TIMES),
        "next_due": _median(worker.next_due, _TIMES),
        "sweep": _median(worker.sweep, _SELDOM),
        "url": _median(pending._read, _SELDOM),
        "url_bytes": _bytes(pending._read),
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
    """Insert rows, one a second, of which three in ten are pending and due; few are all pending."""
    if count <= 0:
        return
    begin, of_ten = now - timedelta(seconds=count), 10 if count <= _FEW else 3
    rows = [_row(number, begin, is_pending=number % 10 < of_ten) for number in range(min(count, _BATCH))]
    Upload.objects.bulk_create(rows)
    made = Upload.objects.filter(name__in=[row.name for row in rows]).order_by("created_at")
    for first in range(_BATCH, count, _BATCH):
        _copy(made[: count - first], seconds=first, begin=begin)


def _row(number: int, begin: datetime, *, is_pending: bool) -> Upload:
    account = find_account(_ALIAS)
    assert account is not None
    created_at = begin + timedelta(seconds=number)
    name = _name(begin)
    return Upload(
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
        next_attempt_at=created_at if is_pending else None,
        created_at=created_at,
        stored_at=None if is_pending else created_at,
    )


def _name(moment: datetime) -> str:
    return names.unique_name("avatars/jane.jpg", seconds=int(moment.timestamp()))


def _copy(rows: QuerySet[Upload], *, seconds: int, begin: datetime) -> None:
    """Insert the rows again, so much later, within the database: a million would take Python many minutes."""
    later, tail = timedelta(seconds=seconds), len("-5p2kd0qj3m8v7x1c.jpg")
    name = Concat(Value(_name(begin + later)[:-tail]), Right("name", tail))
    changed: dict[str, Expression] = {
        "name": name,
        "remote_id": name,
        **{field: F(field) + later for field in ("created_at", "next_attempt_at", "stored_at")},
    }
    columns = [field.attname for field in Upload._meta.concrete_fields if not field.primary_key]
    values = [changed.get(column, F(column)) for column in columns]
    sql, parameters = rows.values_list(*values).query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO cf_images_upload ({', '.join(columns)}) {sql}", parameters)


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
