"""url() queries no row: a name tells its age, and each process reads the pending names every ten seconds."""

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

from cf_images.background import is_pending, pending
from cf_images.images import names
from cf_images.models import State, Upload
from tests.background.conftest import work

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that advances the clocks of ``time``."""
    passed = [0.0]
    now, monotonic = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: now() + passed[0])
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + passed[0])

    def advance(seconds: float) -> None:
        passed[0] += seconds

    return advance


@pytest.fixture
def queries() -> Any:
    with CaptureQueriesContext(connection) as captured:
        yield captured


def test_new_name_costs_no_query(accept: Accept, queries: Any) -> None:
    row = accept()
    before = len(queries)
    assert is_pending(row.name)
    assert is_pending(names.unique_name("of-another-process.png", seconds=int(time.time())))
    assert len(queries) == before


@pytest.mark.parametrize("private", [False, True])
def test_older_names_cost_one_query_in_ten_seconds(
    accept: Accept, later: Any, queries: Any, *, private: bool
) -> None:
    rows = [accept(require_signed_urls=private) for _ in range(3)]
    later(61)
    before = len(queries)
    for _ in range(50):
        assert all(is_pending(row.name) for row in rows)
        assert not is_pending("photos/another.png")
    assert len(queries) == before + 1
    work()
    later(10)
    assert not any(is_pending(row.name) for row in rows)


def test_rejected_image_is_still_served_by_this_site(accept: Accept, later: Any) -> None:
    row = accept()
    Upload.objects.update(state=State.REJECTED)
    later(61)
    assert is_pending(row.name)


def test_name_that_does_not_tell_its_age_is_known_at_once_in_this_process(
    later: Any, cloudflare: Any
) -> None:
    assert not is_pending("exact.png")
    pending.remember("exact.png")
    assert is_pending("exact.png")
    later(61)
    assert not is_pending("exact.png")


def test_database_that_is_away_breaks_no_page(accept: Accept, later: Any, monkeypatch: Any) -> None:
    row = accept()
    later(61)
    assert is_pending(row.name)
    later(11)

    def away() -> None:
        raise DatabaseError

    monkeypatch.setattr(pending, "uploads", away)
    assert is_pending(row.name)


def test_async_code_gets_the_url_of_the_view(cloudflare: Any) -> None:
    async def page() -> bool:
        return is_pending("photos/old.png")

    assert asyncio.run(page())


def test_one_thread_reads_and_the_others_do_not_wait(accept: Accept, later: Any, monkeypatch: Any) -> None:
    row = accept()
    later(61)
    assert is_pending(row.name)
    later(11)
    known = pending._pending
    assert known._reading.acquire(blocking=False)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(is_pending(row.name)))
    thread.start()
    thread.join()
    known._reading.release()
    assert results == [True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_does_not_inherit_a_lock_that_is_held(cloudflare: Any) -> None:
    known = pending._pending
    assert known._reading.acquire(blocking=False)
    child = os.fork()
    if child == 0:
        acquired = pending._pending._reading.acquire(blocking=False)
        os._exit(0 if acquired else 1)
    known._reading.release()
    assert os.waitpid(child, 0)[1] == 0
