"""url() asks nobody per image: a name tells its age, and each process reads what waits every ten seconds."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from cf_images import naming
from cf_images.background import is_undelivered, undelivered
from cf_images.models import State, Upload
from tests.background.conftest import work

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass."""
    passed = [0.0]
    now, monotonic = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: now() + passed[0])
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + passed[0])

    def advance(seconds: float) -> None:
        passed[0] += seconds

    return advance


@pytest.fixture
def asked() -> Any:
    with CaptureQueriesContext(connection) as queries:
        yield queries


def test_young_name_costs_no_query(accept: Accept, asked: Any) -> None:
    row = accept()
    before = len(asked)
    assert is_undelivered(row.name)
    assert is_undelivered(naming.unique_name("of-another-process.png", seconds=int(time.time())))
    assert len(asked) == before


@pytest.mark.parametrize("private", [False, True])
def test_old_name_is_known_for_one_query_in_ten_seconds(
    accept: Accept, later: Any, asked: Any, *, private: bool
) -> None:
    rows = [accept(require_signed_urls=private) for _ in range(3)]
    later(61)
    before = len(asked)
    for _ in range(50):
        assert all(is_undelivered(row.name) for row in rows)
        assert not is_undelivered("photos/another.png")
    assert len(asked) == before + 1
    work()
    later(10)
    assert not any(is_undelivered(row.name) for row in rows)


def test_rejected_image_is_still_ours_to_show(accept: Accept, later: Any) -> None:
    row = accept()
    Upload.objects.update(state=State.REJECTED)
    later(61)
    assert is_undelivered(row.name)


def test_name_that_does_not_tell_its_birth_is_known_at_once_here(later: Any, cloudflare: Any) -> None:
    assert not is_undelivered("exact.png")
    undelivered.remember("exact.png")
    assert is_undelivered("exact.png")
    later(61)
    assert not is_undelivered("exact.png")


def test_database_that_is_away_breaks_no_page(accept: Accept, later: Any, monkeypatch: Any) -> None:
    row = accept()
    later(61)
    assert is_undelivered(row.name)
    later(11)

    def away() -> None:
        raise DatabaseError

    monkeypatch.setattr(undelivered, "uploads", away)
    assert is_undelivered(row.name)


def test_async_code_is_sent_to_the_view(cloudflare: Any) -> None:
    async def page() -> bool:
        return is_undelivered("photos/old.png")

    assert asyncio.run(page())


def test_one_thread_reads_and_the_others_do_not_wait(accept: Accept, later: Any, monkeypatch: Any) -> None:
    row = accept()
    later(61)
    assert is_undelivered(row.name)
    later(11)
    known = undelivered._undelivered
    assert known._reading.acquire(blocking=False)
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(is_undelivered(row.name)))
    thread.start()
    thread.join()
    known._reading.release()
    assert answers == [True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_does_not_inherit_a_lock_that_is_held(cloudflare: Any) -> None:
    known = undelivered._undelivered
    assert known._reading.acquire(blocking=False)
    child = os.fork()
    if child == 0:
        free = undelivered._undelivered._reading.acquire(blocking=False)
        os._exit(0 if free else 1)
    known._reading.release()
    assert os.waitpid(child, 0)[1] == 0
