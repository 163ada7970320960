"""url() queries no row: a name tells its age, and each process reads the pending names every ten seconds."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cf_images.background import is_pending, pending, timing
from cf_images.images import names
from cf_images.models import State, Upload
from tests.background.conftest import ALIAS, work

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
OLD = timing.ASSUME_PENDING_SECONDS + 1


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
def test_older_names_cost_two_queries_in_ten_seconds(
    accept: Accept, later: Any, queries: Any, *, private: bool
) -> None:
    """One for each state, and none of them in a transaction of its own."""
    rows = [accept(require_signed_urls=private) for _ in range(3)]
    later(OLD)
    before = len(queries)
    for _ in range(50):
        assert all(is_pending(row.name) for row in rows)
        assert not is_pending("photos/another.png")
    assert len([query for query in queries.captured_queries[before:] if "SELECT" in query["sql"]]) == 2
    work()
    later(10)
    assert not any(is_pending(row.name) for row in rows)


def test_rejected_image_is_still_served_by_this_site(accept: Accept, later: Any) -> None:
    row = accept()
    Upload.objects.update(state=State.REJECTED)
    later(OLD)
    assert is_pending(row.name)


def test_name_that_does_not_tell_its_age_is_known_at_once_in_this_process(
    later: Any, cloudflare: Any
) -> None:
    assert not is_pending("exact.png")
    pending.remember("exact.png")
    assert is_pending("exact.png")
    later(OLD)
    assert not is_pending("exact.png")


@pytest.mark.parametrize("name", ["photos/unexpectedness.jpg", "photos/shop12aaaaaaaa.jpg"])
def test_word_that_looks_like_a_time_is_none(later: Any, cloudflare: Any, name: str) -> None:
    """An imported or given name with letters that would be a moment in the future, or one in the past."""
    assert names.created_at(name) is not None
    assert not is_pending(name)
    assert not pending.is_assumed_pending(name)
    pending.remember(name)
    assert is_pending(name)
    later(OLD)
    assert not is_pending(name)


def test_database_that_is_away_breaks_no_page(accept: Accept, later: Any, monkeypatch: Any) -> None:
    row = accept()
    later(OLD)
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
    later(OLD)
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


def old_names(count: int, *, state: State, age: int) -> list[str]:
    """Make rows, one a second, the first ``age`` seconds old; return their names."""
    now = timezone.now()
    chosen = [now - timedelta(seconds=age - position) for position in range(count)]
    found = [names.unique_name("a.png", seconds=int(at.timestamp())) for at in chosen]
    Upload.objects.bulk_create(
        Upload(name=name, storage=ALIAS, token="t", state=state, created_at=at)
        for name, at in zip(found, chosen, strict=True)
    )
    return found


@pytest.mark.parametrize("state", [State.PENDING, State.REJECTED])
def test_long_backlog_is_read_in_part_and_younger_names_are_assumed_to_be_pending(
    cloudflare: Any, queries: Any, state: State
) -> None:
    """Also one that is stored: the view redirects it. A stored one that is older has Cloudflare's URL."""
    waiting = old_names(pending.MAX_NAMES + 500, state=state, age=100_000)
    younger, older = (
        names.unique_name("stored.png", seconds=int(time.time()) - age)
        for age in (100_000 - pending.MAX_NAMES - 1, 100_000 + OLD)
    )
    before = len(queries)
    assert all(is_pending(name) for name in waiting)
    assert is_pending(younger)
    assert not is_pending(older)
    assert is_pending("a-name-that-does-not-tell-its-age.png")
    selects = [query["sql"] for query in queries.captured_queries[before:] if "SELECT" in query["sql"]]
    limits = sorted(int(sql.rpartition("LIMIT ")[2]) for sql in selects)
    assert limits == [1, pending.MAX_NAMES + 1, pending.MAX_NAMES + 1], "the time of one row"
    assert len(pending._pending._found.names) <= 2 * (pending.MAX_NAMES + 1)


def test_row_that_is_deleted_while_the_backlog_is_read_says_nothing(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_names(pending.MAX_NAMES + 500, state=State.PENDING, age=100_000)
    real = pending._earliest_name

    def gone(pk: int) -> int:
        Upload.objects.filter(pk=pk).delete()
        return real(pk)

    monkeypatch.setattr(pending, "_earliest_name", gone)
    assert is_pending(names.unique_name("stored.png", seconds=1)), "the view is right for every image"


def test_short_backlog_is_known_by_name(cloudflare: Any) -> None:
    waiting = old_names(pending.MAX_NAMES, state=State.PENDING, age=100_000)
    assert all(is_pending(name) for name in waiting)
    assert not is_pending(names.unique_name("stored.png", seconds=int(time.time()) - 50_000))
    assert not is_pending("a-name-that-does-not-tell-its-age.png")


def test_read_that_failed_is_tried_again_and_until_then_nothing_is_known(
    accept: Accept, later: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a new process: no list of pending names is not an empty list."""
    row = accept()
    stored = names.unique_name("stored.png", seconds=1)
    later(OLD)
    reads: list[bool] = []

    def away() -> None:
        reads.append(True)
        raise DatabaseError

    with monkeypatch.context() as patch:
        patch.setattr(pending, "uploads", away)
        for _ in range(100):
            assert is_pending(row.name)
            assert is_pending(stored), "the view is right for every image"
        assert len(reads) == 1, "a database that is away is not asked for each image"
        later(1.1)
        assert is_pending(stored)
        assert len(reads) == 2
    later(1.1)
    assert is_pending(row.name)
    assert not is_pending(stored)


def test_async_code_remembers_nothing(accept: Accept, later: Any) -> None:
    row = accept()
    later(OLD)
    stored = names.unique_name("stored.png", seconds=1)

    async def page() -> list[bool]:
        return [is_pending(row.name), is_pending(stored)]

    assert asyncio.run(page()) == [True, True]
    assert is_pending(row.name)
    assert not is_pending(stored)
