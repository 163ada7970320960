"""What each database does: plans of queries, comparisons of identifiers, failed queries, transactions."""

from __future__ import annotations

import io
import json
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, IntegrityError, connections, models, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cf_images.accounts import find_account
from cf_images.background import (
    chunks,
    delete,
    heartbeat,
    is_pending,
    leases,
    pending,
    reporting,
    rows,
    timing,
    upload_from_file,
    worker,
)
from cf_images.background.transfers import new_row
from cf_images.images import names
from cf_images.management.subcommands import process
from cf_images.models import (
    AccountPace,
    Chunk,
    CircuitBreaker,
    ExactCharField,
    QueueState,
    Rendition,
    Reservation,
    State,
    Transfer,
    Upload,
    Worker,
)
from tests.background import databases
from tests.background.conftest import ALIAS, destination_of
from tests.pictures import picture

pytestmark = pytest.mark.timeout(300)

Later = Callable[[float], None]
OLD = timing.ASSUME_PENDING_SECONDS + 1


@pytest.fixture(params=databases.EACH)
def database(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    cloudflare: Any,
    django_db_blocker: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Any]:
    """The connection to an empty database with the tables of uploads."""
    with (
        django_db_blocker.unblock(),
        request.param(tmp_path) as chosen,
        databases.use(chosen, monkeypatch) as connection,
    ):
        yield connection


def row(name: str, **fields: Any) -> Upload:
    now = timezone.now()
    given = {"storage": ALIAS, "token": "t", "created_at": now, "next_attempt_at": now, **fields}
    return Upload(name=name, **given)


def reservation(**fields: Any) -> Reservation:
    now = timezone.now()
    given = {"key": secrets.token_hex(16), "expires_at": now, "created_at": now, **fields}
    return Reservation(**given)


# Plans


def fill(number: int) -> None:
    """Make as many stored rows, half as many pending and rejected ones, of this account and of another."""
    account = find_account(ALIAS)
    assert account is not None
    now, made = timezone.now(), []
    for position in range(2 * number):
        state = (State.STORED, State.PENDING, State.STORED, State.REJECTED)[position % 4]
        made.append(
            row(
                names.unique_name("web/a.png", seconds=int(now.timestamp()) - 100_000 + position),
                account=account.key if position % 8 < 7 else "https://api.example.com/accounts/another",
                state=state,
                created_at=now - timedelta(seconds=100_000 - position),
                next_attempt_at=now - timedelta(seconds=position) if state == State.PENDING else None,
            )
        )
    Upload.objects.using(databases.ALIAS).bulk_create(made, batch_size=500)
    transfers = []
    for position in range(number):
        transfer = new_row(
            source="default",
            target=ALIAS,
            source_name=(name := f"{secrets.token_hex(8)}.jpg"),
            name=name,
            is_enqueued=position % 8 < 7,
        )
        if position % 2:
            transfer.state, transfer.next_attempt_at = State.STORED, None
        transfers.append(transfer)
    Transfer.objects.using(databases.ALIAS).bulk_create(transfers, batch_size=500)
    Reservation.objects.using(databases.ALIAS).bulk_create(
        [
            reservation(
                account=account.key,
                next_attempt_at=now - timedelta(seconds=position) if position % 2 else None,
            )
            for position in range(number)
        ],
        batch_size=500,
    )


def analyze(connection: Any) -> None:
    with connection.cursor() as cursor:
        for table in ("cf_images_upload", "cf_images_transfer", "cf_images_reservation"):
            cursor.execute(f"ANALYZE {'TABLE ' if connection.vendor == 'mysql' else ''}{table}")
            cursor.fetchall() if connection.vendor == "mysql" else None


def problems(connection: Any, sql: str) -> list[str]:
    """Return the parts of a plan that read a whole table or index, or sort."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            steps = [str(step[3]) for step in cursor.fetchall()]
            return [step for step in steps if step.startswith("SCAN") or "TEMP B-TREE" in step]
        if connection.vendor == "postgresql":
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
            (found,) = cursor.fetchone()
            nodes = list(nodes_of((found if isinstance(found, list) else json.loads(found))[0]["Plan"]))
            slow = ("Seq Scan", "Sort", "Incremental Sort")  # to sort one row is nothing
            return [kind for kind, expected in nodes if kind in slow and expected > 1]
        cursor.execute(f"EXPLAIN {sql}")
        columns = [column[0] for column in cursor.description]
        plan = [dict(zip(columns, step, strict=True)) for step in cursor.fetchall()]
        return [
            f"{step['type']} {step['Extra']}"
            for step in plan
            if step["type"] in ("ALL", "index") or any(word in (step["Extra"] or "") for word in SLOW)
        ]


SLOW = ("filesort", "temporary")


def nodes_of(plan: dict[str, Any]) -> Iterator[tuple[str, int]]:
    yield plan["Node Type"], plan["Plan Rows"]
    for part in plan.get("Plans", []):
        yield from nodes_of(part)


def find_and_claim() -> None:
    """One row, several of them, of each kind."""
    for backlog, number in product(leases.backlogs(destination_of(ALIAS)), (1, 10)):
        claims = backlog.take(number)
        assert len(claims) == number
        for claimed in claims:
            claimed.renew()
            claimed.release()


def read_pending_names() -> None:
    pending._read()


def look_up_an_image() -> None:
    name = names.unique_name("web/a.png", seconds=1)
    rows.remote_id(name)
    rows.find(name)
    rows.is_deleting(name)


USES = [
    find_and_claim,
    read_pending_names,
    look_up_an_image,
    worker.next_due,
    worker.has_work_for_others,
    worker.sweep,
    reporting.oldest_due_at,
]


def test_queries_of_workers_and_pages_neither_sort_nor_scan(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a backlog of twenty times what a process keeps."""
    monkeypatch.setattr(pending, "MAX_NAMES", 100)
    fill(4000)
    analyze(database)
    destination_of(ALIAS)  # once in a process, rows are adopted
    found: dict[tuple[str, str], list[str]] = {}
    for use in USES:
        with CaptureQueriesContext(database) as captured:
            use()
        queries = [query["sql"] for query in captured.captured_queries if "cf_images_upload" in query["sql"]]
        assert queries, use
        found |= {(use.__name__, sql): problems(database, sql) for sql in queries}
    assert {query: problem for query, problem in found.items() if problem} == {}
    assert not [sql for _, sql in found if "COUNT(" in sql.upper()]


def work_of(connection: Any, use: Callable[[], object]) -> int:
    """Return how many rows and entries of indexes the database reads; of SQLite, the steps of its machine."""
    if connection.vendor == "sqlite":
        steps = count()
        connection.connection.set_progress_handler(lambda: next(steps) < 0, 1)
        use()
        connection.connection.set_progress_handler(None, 1)
        return next(steps)
    if connection.vendor == "postgresql":
        with transaction.atomic(using=databases.ALIAS), connection.cursor() as cursor:
            before = tuples_read(cursor)  # by earlier transactions, of a second
            use()
            return tuples_read(cursor) - before
    with connection.cursor() as cursor:
        before = handler_reads(cursor)
        use()
        return handler_reads(cursor) - before


def tuples_read(cursor: Any) -> int:
    cursor.execute("SELECT SUM(seq_tup_read + COALESCE(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables")
    return int(cursor.fetchone()[0])


def handler_reads(cursor: Any) -> int:
    cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read_%'")
    return sum(int(value) for _, value in cursor.fetchall())


def test_work_of_the_database_does_not_grow_with_the_backlog(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan may look good and still read all that is finished: it is the first in an index."""
    monkeypatch.setattr(pending, "MAX_NAMES", 100)
    few, many = {}, {}
    for number, work in ((400, few), (4000, many)):
        fill(number)
        analyze(database)
        for use in USES:
            use()  # the first call may open connections, and adopts rows
            work[use.__name__] = work_of(database, use)
    assert few["find_and_claim"]
    assert {name: (few[name], many[name]) for name in few if many[name] > 1.5 * few[name] + 100} == {}


def test_summary_of_process_reads_no_finished_rows(database: Any) -> None:
    account = destination_of(ALIAS).account_key
    stored = {"state": State.STORED, "next_attempt_at": None}
    found = [row(f"{number}.png", account=account, **stored) for number in range(4000)]
    found += [row(f"pending-{number}.png", account=account) for number in range(5)]
    Upload.objects.using(databases.ALIAS).bulk_create(found, batch_size=500)
    analyze(database)

    def summarize() -> None:
        assert process._summary(Counter()).startswith("0 images stored")
        assert process._unfinished().filter(created_at__lte=timezone.now()).exists()

    assert work_of(database, summarize) < 2000  # SQLite's steps; a row costs it more than one


def test_plan_of_a_scan_or_sort_is_noticed(database: Any) -> None:
    fill(4000)
    analyze(database)
    assert problems(database, "SELECT id FROM cf_images_upload WHERE creator = ''")
    assert problems(database, "SELECT id FROM cf_images_upload ORDER BY sha256")


# Identifiers

SIMILAR = [
    "photos/Jane.png",
    "photos/JANE.png",
    "photos/jane.png",
    "photos/jane.png ",
    "photos/jané.png",
    "photos/jane\u0301.png",
    "photos/jaße.png",
    "photos/jasse.png",
]
TEXTS = {  # columns that identify nothing
    # The name in the source is looked up by its hash.
    Transfer: {"source_name", "field", "sha256", "state", "last_error"},
    Reservation: {"filename", "format", "sha256", "state", "last_error"},
    Upload: {"creator", "filename", "content_type", "sha256", "state", "last_error"},
    CircuitBreaker: {"reason"},
    Rendition: {"content_type"},
}


def rendition(**fields: Any) -> Rendition:
    upload = row(f"row-{next(NUMBERS)}")
    upload.save(using=databases.ALIAS)
    return Rendition(upload=upload, **fields)


FACTORIES: dict[type[models.Model], Callable[..., models.Model]] = {
    Upload: lambda **fields: row(**{"name": f"row-{next(NUMBERS)}", **fields}),
    Reservation: lambda **fields: reservation(**fields),
    Transfer: lambda **fields: Transfer(
        **{"key": f"row-{next(NUMBERS)}", "created_at": timezone.now(), "name": None, **fields}
    ),
    CircuitBreaker: lambda **fields: CircuitBreaker(**{"account_key": f"key-{next(NUMBERS)}", **fields}),
    AccountPace: AccountPace,
    Worker: lambda **fields: Worker(**{"seen_at": timezone.now(), **fields}),
    QueueState: QueueState,
    Chunk: Chunk,
    Rendition: rendition,
}
NUMBERS = count()


def identifiers(model: type[models.Model]) -> list[str]:
    return [field.name for field in model._meta.concrete_fields if isinstance(field, ExactCharField)]


def test_identifiers_are_compared_as_bytes(database: Any) -> None:
    found = []
    for model, make in FACTORIES.items():
        manager = model._default_manager.using(databases.ALIAS)
        for field in identifiers(model):
            values = [value[:32] for value in SIMILAR]
            for value in values:
                make(**{field: value}).save(using=databases.ALIAS, force_insert=True)
            assert [manager.filter(**{field: value}).count() for value in values] == [1] * len(values), field
            assert manager.filter(**{f"{field}__in": values[:2]}).count() == 2
            found.append(f"{model.__name__}.{field}")
    assert len(found) == 28, found


def test_no_column_holds_an_identifier_and_is_compared_otherwise() -> None:
    assert set(apps.get_app_config("cf_images").get_models()) == set(FACTORIES)
    for model in FACTORIES:
        kinds = (models.CharField, models.TextField)
        texts = {field.name for field in model._meta.concrete_fields if isinstance(field, kinds)}
        assert texts - set(identifiers(model)) - {"source_url"} == TEXTS.get(model, set()), model


def test_images_with_similar_names_are_different_images(database: Any) -> None:
    for name in SIMILAR:
        row(name, state=State.STORED, next_attempt_at=None).save(using=databases.ALIAS)
    delete("photos/JANE.png", ALIAS)
    left = rows.uploads().filter(state=State.STORED).values_list("name", flat=True)
    assert sorted(left) == sorted(set(SIMILAR) - {"photos/JANE.png"})
    assert [name for name in SIMILAR if rows.is_deleting(name)] == ["photos/JANE.png"]


# Failed queries behind url()


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The read of pending names fails in the database, until the patch is undone."""
    with monkeypatch.context() as patch:
        patch.setattr(pending, "uploads", lambda: rows.uploads().extra(where=["no_such_column = 1"]))
        yield patch


def test_failed_read_within_a_transaction_leaves_it_usable(
    database: Any, broken: pytest.MonkeyPatch, later: Later
) -> None:
    name = names.unique_name("a.png", seconds=1)
    with transaction.atomic(using=databases.ALIAS):
        row("b.png").save(using=databases.ALIAS)
        assert is_pending(name), "nothing is known, and the view is right for every image"
        assert rows.uploads().count() == 1
    assert rows.uploads().count() == 1
    assert is_pending(name)
    broken.undo()
    later(1.1)
    assert not is_pending(name), "the failure was not remembered"


def test_failed_read_within_a_transaction_that_has_failed_is_no_result(database: Any, later: Later) -> None:
    name = names.unique_name("a.png", seconds=1)
    with transaction.atomic(using=databases.ALIAS):
        transaction.set_rollback(True, using=databases.ALIAS)
        assert is_pending(name)
    later(1.1)
    assert not is_pending(name)


# The heartbeat within a transaction of the site


@pytest.fixture
def heart(monkeypatch: pytest.MonkeyPatch) -> heartbeat._Process:
    """A process that has written nothing yet."""
    monkeypatch.setattr(heartbeat, "_process", heartbeat._Process())
    return heartbeat._process


def test_heartbeat_that_fails_leaves_the_transaction_usable(database: Any, heart: heartbeat._Process) -> None:
    with database.cursor() as cursor:
        cursor.execute("DROP TABLE cf_images_worker")
    with transaction.atomic(using=databases.ALIAS):
        row("a.png").save(using=databases.ALIAS)
        heartbeat.touch()
        row("b.png").save(using=databases.ALIAS)
    assert rows.uploads().count() == 2


def test_heartbeat_does_not_hide_the_error_of_a_broken_transaction(
    database: Any, heart: heartbeat._Process
) -> None:
    """The site has caught an error of its own query, and PostgreSQL refuses all that follow."""

    def transaction_of_the_site() -> None:
        with transaction.atomic(using=databases.ALIAS):
            with suppress(DatabaseError), database.cursor() as cursor:
                cursor.execute("SELECT no_such_column")
            heartbeat.touch()
            if database.vendor != "postgresql":
                assert Worker.objects.using(databases.ALIAS).count() == 1
            with database.cursor() as cursor:
                cursor.execute("SELECT another_column")

    with pytest.raises(DatabaseError) as found:
        transaction_of_the_site()
    aborted = "current transaction is aborted" in str(found.value)
    assert aborted is (database.vendor == "postgresql")
    row("c.png").save(using=databases.ALIAS)
    assert rows.uploads().count() == 1


def test_heartbeat_in_a_transaction_that_rolls_back_does_not_change_its_error(
    database: Any, heart: heartbeat._Process
) -> None:
    row("a.png").save(using=databases.ALIAS)

    def transaction_of_the_site() -> None:
        with transaction.atomic(using=databases.ALIAS):
            try:
                row("a.png").save(using=databases.ALIAS)
            finally:
                heartbeat.touch()

    with pytest.raises(IntegrityError):
        transaction_of_the_site()
    assert rows.uploads().count() == 1


def test_pending_image_is_read_by_one_query_with_its_bytes(database: Any) -> None:
    small, large = picture(), picture(size=(1300, 1100), seed=3)
    for body, queries in ((small, 1), (large, -(-len(large) // chunks.CHUNK_BYTES))):
        name = upload_from_file(io.BytesIO(body), filename="a.png")
        with CaptureQueriesContext(database) as captured:
            file = rows.open_pending(name)
        assert file is not None
        with file:
            assert file.read() == body
        assert len(captured) == queries


# Long transactions


def test_image_of_a_transaction_of_four_minutes_is_pending_after_its_commit(
    database: Any, later: Later
) -> None:
    """Another process has read the pending names a second before the commit."""
    inserted, commit = threading.Event(), threading.Event()
    accepted: list[str] = []

    def accept() -> None:
        try:
            with transaction.atomic(using=databases.ALIAS):
                accepted.append(upload_from_file(io.BytesIO(picture()), filename="a.png"))
                inserted.set()
                assert commit.wait(60)
        finally:
            connections.close_all()

    thread = threading.Thread(target=accept)
    thread.start()
    assert inserted.wait(60)
    later(239)
    pending.clear_cache()
    assert not is_pending(names.unique_name("a.png", seconds=1))
    commit.set()
    thread.join()
    for _ in range(9):
        later(1)
        assert is_pending(accepted[0])
    later(OLD)
    assert is_pending(accepted[0])
