"""The rows of mirrors on each database: plans of queries, and what happens at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cf_images.background import mirrored_names
from cf_images.background.transfers import enqueue_copy, enqueue_delete, new_row, transfers, was_used
from cf_images.exceptions import ImageExistsError
from cf_images.models import State, Transfer
from tests.background import databases
from tests.background.test_databases import problems

pytestmark = pytest.mark.timeout(120)

HERE, THERE = "default", "cloudflare_images"
PLACES = (HERE, THERE)


@pytest.fixture(params=databases.EACH)
def database(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    cloudflare: Any,
    django_db_blocker: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Any]:
    """The connection to an empty database with the tables of this package."""
    mirrored_names.clear_cache()
    with (
        django_db_blocker.unblock(),
        request.param(tmp_path) as chosen,
        databases.use(chosen, monkeypatch) as connection,
    ):
        yield connection


def only_row() -> Transfer:
    return transfers().get()


def at_once(*uses: Callable[[], object]) -> list[object]:
    """Run each in a thread of its own; return what they have returned, or raised."""
    results: list[object] = [None] * len(uses)
    start = threading.Barrier(len(uses))

    def run(index: int, use: Callable[[], object]) -> None:
        start.wait()
        try:
            results[index] = use()
        except Exception as error:  # noqa: BLE001  # it is what the test is about
            results[index] = error
        finally:
            connections[databases.ALIAS].close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(uses)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


USES = [
    lambda: mirrored_names.find("7.png", primary=HERE, secondary=THERE),
    lambda: mirrored_names.find("7.png", primary=THERE, secondary=HERE),
    lambda: was_used("7.png", *PLACES),
    lambda: enqueue_delete("7.png", *PLACES),
    lambda: enqueue_delete("7.png", THERE, HERE),
    lambda: enqueue_delete("unknown.png", *PLACES),
]


def test_queries_read_no_table(database: Any) -> None:
    made = [new_row(source=HERE, target=THERE, source_name=f"{n}.png", name=f"{n}.png") for n in range(4000)]
    transfers().bulk_create(made, batch_size=500)
    with database.cursor() as cursor:
        table = "TABLE cf_images_transfer" if database.vendor == "mysql" else "cf_images_transfer"
        cursor.execute(f"ANALYZE {table}")
        cursor.fetchall() if database.vendor == "mysql" else None
    with CaptureQueriesContext(database) as captured:
        for use in USES:
            use()
    queries = [query["sql"] for query in captured.captured_queries if "cf_images_transfer" in query["sql"]]
    assert len(queries) < 25
    found = {sql: problems(database, sql) for sql in queries if sql.startswith(("SELECT", "UPDATE"))}
    assert {sql: problem for sql, problem in found.items() if problem} == {}


def test_names_that_differ_in_case_or_accents_are_different(database: Any) -> None:
    for name in ("Jane.png", "jane.png", "jané.png", "jane\u0301.png", "jane.png "):
        enqueue_copy(name, *PLACES)
        with pytest.raises(ImageExistsError):
            enqueue_copy(name, *PLACES)
    enqueue_delete("jane.png", *PLACES)
    assert transfers().filter(state=State.DELETED).count() == 1


def test_deletions_at_once_of_what_has_no_row_leave_one(database: Any) -> None:
    results = at_once(*[lambda: enqueue_delete("cat.png", *PLACES)] * 4)
    assert results == [None] * 4
    assert only_row().state == State.DELETING


def test_deletion_sees_a_row_that_its_snapshot_does_not_have(database: Any) -> None:
    """On MariaDB, a transaction reads what was there when it began."""
    with transaction.atomic(using=databases.ALIAS):
        assert not transfers().exists()
        if database.vendor == "sqlite":  # has one transaction at a time that writes
            enqueue_copy("cat.png", *PLACES)
        else:
            assert at_once(lambda: enqueue_copy("cat.png", *PLACES)) == [None]
        enqueue_delete("cat.png", *PLACES)
    assert only_row().state == State.DELETED


def test_name_of_a_deletion_that_has_not_committed_is_refused(database: Any) -> None:
    deleted, saved = threading.Event(), threading.Event()

    def delete() -> None:
        with transaction.atomic(using=databases.ALIAS):
            enqueue_delete("cat.png", *PLACES)
            deleted.set()
            saved.wait(0.3)  # the other waits for this transaction

    def save() -> None:
        deleted.wait(10)
        enqueue_copy("cat.png", *PLACES)
        saved.set()

    _, error = at_once(delete, save)
    assert isinstance(error, ImageExistsError)
    assert only_row().state == State.DELETING


def test_deletion_meets_a_worker_that_claims(database: Any) -> None:
    """Whoever is first: a row that was claimed is deleted after its lease, any other is never sent."""
    for number in range(20):
        name = f"{number}.png"
        enqueue_copy(name, *PLACES)
        row = transfers().get(source_name=name)
        ends_at = timezone.now() + timedelta(seconds=50)

        def claim(pk: int = row.pk, ends_at: Any = ends_at) -> int:
            rows = transfers().filter(pk=pk, next_attempt_at__lte=timezone.now())
            return rows.update(lease="of-a-worker", attempts=1, next_attempt_at=ends_at)

        claimed, problem = at_once(claim, lambda name=name: enqueue_delete(name, *PLACES))  # type: ignore[misc]
        assert problem is None
        row.refresh_from_db()
        if claimed == 1:
            assert (row.state, row.lease) == (State.DELETING, "of-a-worker")
            assert abs((row.next_attempt_at or ends_at) - ends_at) < timedelta(milliseconds=1)
        else:
            assert (row.state, row.next_attempt_at) == (State.DELETED, None)
