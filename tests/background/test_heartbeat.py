"""Workers are visible: how many there are, and when one last worked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import InterfaceError
from django.utils import timezone

from cf_images.background import heartbeat
from cf_images.models import Worker

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A process of its own, whose heart does not beat by itself."""
    process = heartbeat._Process()
    monkeypatch.setattr(heartbeat, "_process", process)
    monkeypatch.setattr(process, "_run", lambda: None)
    return process


def seen(name: str, *, seconds_ago: float, threads: int = 1, worked: float | None = None) -> None:
    now = timezone.now()
    Worker.objects.create(
        name=name,
        threads=threads,
        seen_at=now - timedelta(seconds=seconds_ago),
        worked_at=None if worked is None else now - timedelta(seconds=worked),
    )


def test_without_a_worker_there_is_none() -> None:
    assert (heartbeat.threads(), heartbeat.last_seen()) == (0, None)


def test_worker_that_starts_is_seen_at_once() -> None:
    heartbeat.start()
    heartbeat.start()
    assert heartbeat.threads() == 1


def test_threads_are_counted_while_they_live(process: Any) -> None:
    end = threading.Event()

    def work() -> None:
        process.threads.add(threading.get_ident())
        end.wait(30)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    heartbeat.start()
    process.beat()
    assert heartbeat.threads() == 4
    end.set()
    for thread in threads:
        thread.join()
    process.beat()
    assert heartbeat.threads() == 1


def test_processes_add_up_and_dead_ones_do_not() -> None:
    seen("a:1", seconds_ago=1, threads=4)
    seen("b:1", seconds_ago=50, threads=2)
    seen("c:1", seconds_ago=70, threads=16)
    assert heartbeat.threads() == 6


def test_moment_of_the_last_work_is_written_with_the_next_beat(process: Any) -> None:
    heartbeat.start()
    assert heartbeat.last_seen() is None
    heartbeat.worked()
    process.beat()
    assert heartbeat.last_seen() == process.worked_at


def test_last_work_of_dead_workers_counts() -> None:
    seen("a:1", seconds_ago=5000, worked=5000)
    seen("b:1", seconds_ago=9000, worked=9000)
    last = heartbeat.last_seen()
    assert last is not None
    assert 4990 < (timezone.now() - last).total_seconds() < 5100


def test_workers_that_ended_long_ago_are_forgotten_but_for_the_last_work() -> None:
    for number in range(5):
        seen(f"a:{number}", seconds_ago=100_000 + number, worked=100_000 + number)
    last = heartbeat.last_seen()
    heartbeat.forget_dead()
    assert [worker.name for worker in Worker.objects.all()] == ["a:0"]
    assert heartbeat.last_seen() == last


class RawDriverError(Exception):
    """What a driver or a pooler raises, and Django does not translate."""


@pytest.mark.parametrize("failure", [InterfaceError, RawDriverError])
def test_heartbeat_outlives_its_database_connection(
    monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    def away() -> str:
        raise failure("connection already closed")

    monkeypatch.setattr(heartbeat, "database", away)
    heartbeat._Process().beat()
