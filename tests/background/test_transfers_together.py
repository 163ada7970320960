"""Transfers that a worker has claimed together are written down together."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from cf_images.background import copying, outcomes, worker
from cf_images.background.rows import transfers, uploads
from cf_images.background.runner import Run
from cf_images.background.transfers import new_row
from cf_images.models import State
from tests.background import databases
from tests.background.conftest import ALIAS, use_background_storage
from tests.pictures import picture

pytestmark = pytest.mark.django_db


def fill(folder: Path, count: int, *, is_private: bool = False, **options: Any) -> None:
    for number in range(count):
        (folder / f"{number}.png").write_bytes(picture(size=(32 + number, 24), seed=number))
        name = None if is_private else f"{number}.png"
        new_row(source=str(folder), target=ALIAS, source_name=f"{number}.png", name=name, **options).save()


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
    written = [number for number, line in enumerate(sql) if "ON CONFLICT" in line]
    assert len(stored) == len(written) == 1
    assert not [line for line in sql[stored[0] : written[0]] if "SAVEPOINT" in line]
    check_stored(cloudflare, 4)


def check_stored(cloudflare: Any, count: int) -> None:
    """Fail unless each row says of its own image what is true of it."""
    done = transfers().filter(state=State.STORED)
    assert len(done) == count
    bodies = {image_id: image.body for image_id, image in cloudflare.images.items()}
    for row in done:
        assert hashlib.sha256(bodies[row.remote_id]).hexdigest() == row.sha256
        number = int(row.source_name.removesuffix(".png"))
        assert (row.size, row.width, row.height) == (len(bodies[row.remote_id]), 32 + number, 24)
        assert (row.lease, row.last_error, row.next_attempt_at) == ("", "", None)
        assert row.stored_at


@pytest.mark.parametrize("is_private", [False, True])
@pytest.mark.parametrize("kind", databases.EACH)
def test_each_database_writes_what_is_true_of_each_image(
    kind: databases.Database,
    tmp_path: Path,
    cloudflare: Any,
    settings: Any,
    django_db_blocker: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_private: bool,
) -> None:
    use_background_storage(settings, cloudflare, require_signed_urls=is_private)
    with (
        django_db_blocker.unblock(),
        kind(tmp_path) as chosen,
        databases.use(chosen, monkeypatch) as connection,
    ):
        fill(tmp_path, 32, is_private=is_private)
        with CaptureQueriesContext(connection) as captured:
            process(4)
        sql = [query["sql"] for query in captured]
        assert len([line for line in sql if " ON CONFLICT" in line or " ON DUPLICATE" in line]) == 1
        check_stored(cloudflare, 4)
        names = list(transfers().filter(state=State.STORED).values_list("name", "remote_id"))
        assert len(set(names)) == 4
        assert all(remote_id in (name or "") for name, remote_id in names)


def test_plain_uploads_claimed_together_share_a_transaction(accept: Any, cloudflare: Any) -> None:
    for _ in range(32):
        accept()
    with CaptureQueriesContext(connection) as captured:
        process(4)
    assert len([query for query in captured if "\"state\" = 'stored'" in query["sql"]]) == 1
    assert uploads().filter(state=State.STORED, lease="").count() == 4


def test_transfer_deleted_while_others_are_stored_with_it_is_not_stored(
    tmp_path: Path, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 24)
    together = outcomes._stored_together

    def meanwhile(images: Any) -> set[int]:
        transfers().filter(pk=next(iter(images))).update(state=State.DELETING)
        return together(images)

    monkeypatch.setattr(outcomes, "_stored_together", meanwhile)
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
