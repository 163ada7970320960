"""A database that fails once, at any query of a worker, leaves no row to a lease that nobody works on."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from cf_images.background import database_connections
from cf_images.background.database_connections import write_down
from cf_images.background.rows import breakers, transfers, uploads
from cf_images.background.transfers import new_row
from cf_images.background.worker import Batch, process_one, process_some
from cf_images.models import State, Upload
from tests.background.conftest import ALIAS, Clock, forget
from tests.pictures import picture

pytestmark = pytest.mark.django_db(transaction=True)

Accept = Callable[..., Upload]
TOGETHER = 3  # rows
PAUSES = 30.0  # seconds; less than a lease


class FailingQuery:
    """An execute wrapper: queries from ``number`` on fail as if another connection had locked the table."""

    def __init__(self, number: int, *, failures: int = 1, kind: type[Exception] = OperationalError) -> None:
        self.failing = range(number, number + failures)
        self.kind = kind
        self.queries = 0

    def __call__(self, execute: Any, *arguments: Any) -> Any:
        self.queries += 1
        if self.queries in self.failing:
            raise self.kind("database table is locked")
        return execute(*arguments)


def process_with(wrapper: FailingQuery, batch: Batch) -> None:
    """One step of a worker, as it goes on after a failure of the database."""
    with connection.execute_wrapper(wrapper), suppress(OperationalError, InterfaceError):
        process_some(batch)


@pytest.fixture
def copied(accept: Accept, tmp_path: Path) -> Callable[[], None]:
    """Return a function that adds a file that is to be copied to Cloudflare."""

    def add() -> None:
        (tmp_path / "one.png").write_bytes(picture())
        new_row(source=str(tmp_path), target=ALIAS, source_name="one.png", name="one.png").save()

    return add


@pytest.mark.parametrize("failures", [1, 2])
@pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
@pytest.mark.parametrize("subject", ["upload", "transfer"])
def test_image_is_stored_soon_whichever_query_fails(
    subject: str,
    kind: type[Exception],
    failures: int,
    accept: Accept,
    copied: Callable[[], None],
    cloudflare: Any,
    clock: Clock,
) -> None:
    add, rows = {"upload": (accept, uploads), "transfer": (copied, transfers)}[subject]
    number, late = 0, []
    while True:
        number += 1
        add()
        forget_all()
        failing = FailingQuery(number, failures=failures, kind=kind)
        process_with(failing, Batch(max_rows=1))
        if rows().exclude(state=State.STORED).filter(next_attempt_at__gt=soon()).exists():
            late.append(number)
        clock.advance(seconds=PAUSES)
        process_one()
        clock.advance(minutes=5)
        process_one()
        assert set(rows().values_list("state", flat=True)) == {State.STORED}
        assert len(cloudflare.images) == 1
        rows().delete()
        cloudflare.images.clear()
        if failing.queries < number:
            break
    assert number > 5  # there were queries to fail
    assert not late


@pytest.mark.parametrize("failures", [1, 2])
def test_rows_that_were_claimed_and_not_tried_are_given_back(
    failures: int, accept: Accept, cloudflare: Any
) -> None:
    number = 0
    while True:
        number += 1
        for _ in range(8 * TOGETHER):  # one in eight is taken at a time
            accept()
        forget_all()
        cloudflare.faults.plan("500")
        batch = Batch()
        batch.rows = TOGETHER
        failing = FailingQuery(number, failures=failures)
        process_with(failing, batch)
        assert not uploads().exclude(lease="").exists()
        cloudflare.faults.reset()
        uploads().delete()
        if failing.queries < number:
            break
    assert number > 5


def forget_all() -> None:
    """Let the next step send the same queries as the one before."""
    breakers().delete()
    forget()


def soon() -> datetime:
    return timezone.now() + timedelta(seconds=PAUSES)


def test_what_fails_within_a_transaction_is_not_tried_again() -> None:
    calls = []

    def write() -> None:
        calls.append(1)
        raise OperationalError

    with pytest.raises(OperationalError), transaction.atomic():
        write_down(write)
    assert len(calls) == 1


def test_database_that_stays_away_is_given_up(
    later: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        later(seconds)

    monkeypatch.setattr(time, "sleep", sleep)

    def write() -> None:
        raise OperationalError

    with pytest.raises(OperationalError):
        write_down(write)
    assert 3 < len(slept) < 20
    assert sum(slept) < database_connections._WRITE_SECONDS
