"""The threads of a command that carries out the transfers it has chosen."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from cf_images.background import runner, timing
from cf_images.background.pace import batch_key
from cf_images.background.rows import transfers
from cf_images.background.runner import Run
from cf_images.background.transfers import new_row
from cf_images.models import State, Transfer
from tests.background import databases
from tests.background.conftest import ALIAS, use_background_storage
from tests.pictures import picture


@pytest.fixture
def database(tmp_path: Path, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file: threads lock each other out of the database in memory that other tests have."""
    with (
        django_db_blocker.unblock(),
        databases.sqlite(tmp_path) as chosen,
        databases.use(chosen, monkeypatch),
    ):
        yield


@pytest.fixture
def files(tmp_path: Path, cloudflare: Any, database: None) -> Path:
    for number in range(12):
        (tmp_path / f"{number}.png").write_bytes(picture(seed=number))
        row = new_row(
            source=str(tmp_path),
            target=ALIAS,
            source_name=f"{number}.png",
            name=f"{number}.png",
            is_enqueued=False,
        )
        row.save()
    return tmp_path


def test_all_rows_are_carried_out_once(files: Path, cloudflare: Any) -> None:
    tried: list[int] = []
    run = Run(transfers, threads=3)
    run.run(threading.Event(), tried.append)
    assert run.problem is None
    assert sum(tried) == 12
    assert len(cloudflare.images) == 12
    assert not Transfer.objects.exclude(state=State.STORED).exists()


def test_stop_leaves_the_rest_as_it_was(files: Path, cloudflare: Any) -> None:
    stop = threading.Event()
    Run(transfers, threads=1).run(stop, lambda _: stop.set())
    done = len(cloudflare.images)
    assert 0 < done < 12
    assert Transfer.objects.filter(state=State.PENDING, lease="", attempts=0).count() == 12 - done


def test_refused_token_ends_the_run_and_is_said(files: Path, cloudflare: Any, settings: Any) -> None:
    use_background_storage(settings, cloudflare, api_token="refused")
    run = Run(transfers, threads=2)
    run.run(threading.Event(), lambda _: None)
    assert run.problem
    assert "Authentication" in run.problem
    assert Transfer.objects.filter(state=State.PENDING, lease="").count() == 12


def test_rows_of_a_killed_run_are_waited_for(
    files: Path, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_IDLE", 0.05)
    soon = timezone.now() + timing.LEASE / 50
    Transfer.objects.filter(name="3.png").update(lease="killed", next_attempt_at=soon, attempts=1)
    Run(transfers, threads=2).run(threading.Event(), lambda _: None)
    assert not Transfer.objects.exclude(state=State.STORED).exists()


def test_rows_of_an_account_that_come_later_are_left_to_the_next_run(
    files: Path, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a command with ``--batch`` continues one without, and fills in rows meanwhile."""
    monkeypatch.setattr(runner, "_IDLE", 0.05)
    stop = threading.Event()
    timer = threading.Timer(5, stop.set)
    timer.start()
    Run(transfers, threads=1).run(stop, lambda _: add_row_for_the_batch_host(files))
    timer.cancel()
    assert not stop.is_set(), "it would never have ended"
    assert Transfer.objects.exclude(state=State.STORED).get().source_name == "late.png"


def add_row_for_the_batch_host(folder: Path) -> None:
    """Add one row, once."""
    (folder / "late.png").write_bytes(picture(seed=99))
    given = {"source": str(folder), "target": ALIAS, "source_name": "late.png", "name": "late.png"}
    row = new_row(**given, is_enqueued=False)
    row.account = batch_key(row.account)
    Transfer.objects.bulk_create([row], ignore_conflicts=True)


def test_row_that_has_failed_for_long_is_left_to_the_next_run(
    files: Path, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_IDLE", 0.05)
    later = timezone.now() + timing.MAX_PAUSE
    Transfer.objects.filter(name="3.png").update(next_attempt_at=later, attempts=20)
    Run(transfers, threads=2).run(threading.Event(), lambda _: None)
    (left,) = Transfer.objects.exclude(state=State.STORED)
    assert left.name == "3.png"


def test_rate_is_kept_by_all_threads_together(
    files: Path, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    stop = threading.Event()
    monkeypatch.setattr(stop, "wait", waits.append)
    run = Run(transfers, threads=1, rate=2)
    for _ in range(5):
        run._wait_for_rate(stop)
    assert [round(wait, 1) for wait in waits] == [0, 0.5, 1, 1.5, 2]


def test_each_request_counts_for_the_rate(
    cloudflare: Any, settings: Any, database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A private image takes two: its ID is reserved, then filled."""
    use_background_storage(settings, cloudflare, "private", require_signed_urls=True, background=False)
    for number in range(3):
        name = f"{number}.png"
        (tmp_path / name).write_bytes(picture(seed=number))
        new_row(source=str(tmp_path), target="private", source_name=name, name=None).save()
    stop, began = threading.Event(), time.monotonic()
    monkeypatch.setattr(stop, "wait", lambda _: None)
    run = Run(transfers, threads=1, rate=0.01)
    run.run(stop, lambda _: None)
    assert len(cloudflare.images) == 3
    assert run._next_at - began >= 600


@pytest.mark.parametrize(("failures", "is_over"), [(5, False), (12, True)])
def test_database_that_fails_for_a_while_does_not_end_the_run(
    files: Path, cloudflare: Any, monkeypatch: pytest.MonkeyPatch, *, failures: int, is_over: bool
) -> None:
    """As where two commands lock each other out; six in a row of each of two threads are too many."""
    left = [OperationalError("database is locked")] * failures
    real = runner.try_some

    def try_some(*arguments: Any, **options: Any) -> Any:
        if left:
            raise left.pop()
        return real(*arguments, **options)

    monkeypatch.setattr(runner, "_IDLE", 0.01)
    monkeypatch.setattr(runner, "try_some", try_some)
    with pytest.raises(OperationalError) if is_over else nullcontext():
        Run(transfers, threads=1).run(threading.Event(), lambda _: None)
    assert len(cloudflare.images) == (0 if is_over else 12)


def test_failing_thread_ends_the_run(files: Path, cloudflare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class BrokenError(Exception):
        pass

    def broken(*_: Any, **__: Any) -> Any:
        raise BrokenError

    monkeypatch.setattr(runner, "try_some", broken)
    with pytest.raises(BrokenError):
        Run(transfers, threads=3).run(threading.Event(), lambda _: None)
