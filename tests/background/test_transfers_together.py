"""Transfers that a worker has claimed together are written down together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from cf_images.background import copying, outcomes, worker
from cf_images.background.rows import transfers
from cf_images.background.runner import Run
from cf_images.background.transfers import new_row
from cf_images.models import State
from tests.background import databases
from tests.background.conftest import ALIAS
from tests.pictures import picture

pytestmark = pytest.mark.django_db


def fill(folder: Path, count: int, **options: Any) -> None:
    for number in range(count):
        (folder / f"{number}.png").write_bytes(picture(seed=number))
        new_row(
            source=str(folder), target=ALIAS, source_name=f"{number}.png", name=f"{number}.png", **options
        ).save()


def process(rows: int) -> None:
    batch = worker.Batch()
    batch.rows = rows
    assert worker.process_some(batch).rows == rows


def test_transfers_claimed_together_share_a_transaction(tmp_path: Path, cloudflare: Any) -> None:
    fill(tmp_path, 32)
    with CaptureQueriesContext(connection) as captured:
        process(4)
    sql = [query["sql"] for query in captured]
    stored = [number for number, line in enumerate(sql) if "\"state\" = 'stored'" in line]
    assert len(stored) == 4
    assert not [line for line in sql[stored[0] : stored[-1]] if "SAVEPOINT" in line]
    done = transfers().filter(state=State.STORED)
    assert {row.name for row in done} == set(cloudflare.images)
    assert all(row.sha256 and row.size and row.width and row.stored_at and not row.lease for row in done)


def test_transfer_deleted_while_others_are_stored_with_it_is_not_stored(
    tmp_path: Path, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 24)
    together = outcomes._transfers_together

    def meanwhile(images: Any) -> set[int]:
        transfers().filter(pk=next(iter(images))).update(state=State.DELETING)
        return together(images)

    monkeypatch.setattr(outcomes, "_transfers_together", meanwhile)
    process(3)
    assert transfers().filter(state=State.STORED).count() == 2
    assert transfers().filter(state=State.DELETING, lease="").count() == 1


def test_failure_of_the_database_leaves_each_transfer_to_itself(
    tmp_path: Path, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 24)

    def fail(*_: Any) -> set[int]:
        raise DatabaseError

    monkeypatch.setattr(outcomes, "_unlocked", fail)
    process(3)
    assert transfers().filter(state=State.STORED).count() == 3


@pytest.fixture
def database(tmp_path: Path, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file: threads lock each other out of the database in memory that other tests have."""
    with (
        django_db_blocker.unblock(),
        databases.sqlite(tmp_path) as chosen,
        databases.use(chosen, monkeypatch),
    ):
        yield


def test_run_sends_as_many_files_at_once_as_it_was_told(
    database: None, tmp_path: Path, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 24, is_enqueued=False)
    sending, preparing, most_sent, most_prepared = set[int](), set[int](), [0], [0]
    send, prepared, both = copying.send, copying.prepared, threading.Barrier(2, timeout=0.2)

    def watched_send(*arguments: Any) -> Any:
        sending.add(threading.get_ident())
        most_sent[0] = max(most_sent[0], len(sending))
        try:
            both.wait()
        except threading.BrokenBarrierError:
            both.reset()
        try:
            return send(*arguments)
        finally:
            sending.discard(threading.get_ident())

    @contextmanager
    def watched_prepared(row: Any) -> Iterator[Any]:
        preparing.add(threading.get_ident())
        most_prepared[0] = max(most_prepared[0], len(preparing))
        with prepared(row) as source:
            yield source
        preparing.discard(threading.get_ident())

    monkeypatch.setattr(copying, "send", watched_send)
    monkeypatch.setattr(copying, "prepared", watched_prepared)
    Run(transfers, threads=2).run(threading.Event(), lambda _: None)
    assert transfers().filter(state=State.STORED).count() == 24
    assert most_sent == [2]
    assert most_prepared == [3]
