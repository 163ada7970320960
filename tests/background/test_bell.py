"""Ringing: whatever becomes of the queue, the image is safe and save() returns."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from huey import MemoryHuey, RedisHuey
from huey.contrib import djhuey

from cf_images.background import bell, deliver, huey_bell, sweeper, timing
from cf_images.models import Upload
from tests.background.conftest import Clock

pytestmark = pytest.mark.django_db(transaction=True)

Accept = Callable[..., Upload]


@pytest.fixture(autouse=True)
def nobody_hangs() -> Iterator[None]:
    bell._hanging.clear()
    yield
    bell._hanging.clear()


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch, settings: Any, cloudflare: Any) -> list[int | None]:
    """A queue that is a callable of the project's own."""
    heard: list[int | None] = []
    monkeypatch.setattr(sys.modules[__name__], "own_bell", heard.append, raising=False)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": f"{__name__}.own_bell"}
    return heard


def test_own_callable_is_rung_with_the_rows_number(accept: Accept, rung: list[int | None]) -> None:
    row = accept()
    assert rung == [row.pk]


@pytest.mark.parametrize("error", [OSError("refused"), SystemExit(1), RuntimeError])
def test_queue_that_fails_costs_a_line_in_the_log(
    accept: Accept,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    rung: list[int | None],
    error: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_: int | None) -> None:
        raise error

    monkeypatch.setattr(sys.modules[__name__], "own_bell", broken)
    row = accept()
    assert Upload.objects.filter(pk=row.pk).exists()
    assert "cannot be reached" in caplog.text


def test_silent_queue_is_waited_for_once(
    accept: Accept, rung: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(timing, "RING", 0.05)
    monkeypatch.setattr(sys.modules[__name__], "own_bell", lambda _: answer.wait(30))
    accept()
    (hanging,) = bell._hanging
    monkeypatch.setattr(timing, "RING", 30)
    began = time.monotonic()
    accept()  # would wait half a minute
    assert time.monotonic() - began < 20
    answer.set()
    hanging.join()
    assert bell.ring()


@pytest.mark.parametrize("listens", [True, False], ids=["silent", "refusing"])
def test_redis_that_is_down_does_not_stop_save(
    accept: Accept, settings: Any, monkeypatch: pytest.MonkeyPatch, *, listens: bool
) -> None:
    redis = pytest.importorskip("redis")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not listens:
            server.close()
        huey = RedisHuey("silent", connection_pool=redis.ConnectionPool(host="127.0.0.1", port=port))
        monkeypatch.setattr(huey_bell.cf_images_deliver, "huey", huey)
        monkeypatch.setattr(djhuey, "HUEY", huey)
        monkeypatch.setattr(timing, "RING", 0.2)
        settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "huey"}
        row = accept()
        assert Upload.objects.filter(pk=row.pk).exists()
        assert not bell.ring()
    for thread in bell._hanging:
        thread.join()


@pytest.fixture
def queue(settings: Any, monkeypatch: pytest.MonkeyPatch) -> MemoryHuey:
    """huey with a queue that nobody works off."""
    huey = MemoryHuey("tests")
    huey._registry = djhuey.HUEY._registry
    monkeypatch.setattr(huey_bell.cf_images_deliver, "huey", huey)
    monkeypatch.setattr(djhuey, "HUEY", huey)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "huey"}
    return huey


def test_huey_gets_one_number_and_keeps_no_result(accept: Accept, queue: MemoryHuey) -> None:
    row = accept()
    (task,) = queue.pending()
    assert (task.args, task.kwargs, task.retries) == ((row.pk,), {}, 0)


def test_huey_task_delivers(accept: Accept, cloudflare: Any) -> None:
    row = accept()
    assert huey_bell.cf_images_deliver.call_local(row.pk) is None
    assert row.name in cloudflare.images


def test_huey_sweeps_each_minute() -> None:
    (sweep,) = (task for task in djhuey.HUEY._registry.periodic_tasks if task.name == "cf_images_sweep")
    minutes = [datetime(2030, 1, 1, hour, minute, tzinfo=UTC) for hour in (0, 13) for minute in (0, 17, 59)]
    assert all(sweep.validate_datetime(minute) for minute in minutes)


def test_immediate_mode_delivers_within_the_request(accept: Accept, cloudflare: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "huey"}
    assert djhuey.HUEY.immediate
    row = accept()
    assert row.name in cloudflare.images


def test_sweeper_rings_for_what_is_due_and_does_not_work(
    accept: Accept, cloudflare: Any, queue: MemoryHuey, clock: Clock
) -> None:
    for _ in range(25):
        accept()
    queue.flush()
    huey_bell.cf_images_sweep.call_local()
    assert len(queue.pending()) == 3
    assert not cloudflare.requests


def test_two_sweepers_do_no_harm(accept: Accept, queue: MemoryHuey, cloudflare: Any) -> None:
    accept()
    queue.flush()
    sweeper.sweep()
    sweeper.sweep()
    while task := queue.dequeue():
        huey_bell.cf_images_deliver.call_local(*task.args)
    assert len(cloudflare.requests) == 1


def test_sweeper_stops_when_nobody_hears(accept: Accept, settings: Any, rung: Any, monkeypatch: Any) -> None:
    for _ in range(25):
        accept()
    rings: list[int | None] = []
    monkeypatch.setattr(sweeper, "ring", lambda *hint: rings.append(hint))
    assert sweeper.sweep() == 0
    assert len(rings) == 1


def test_worker_with_more_to_do_rings_for_another(
    accept: Accept, rung: list[int | None], cloudflare: Any
) -> None:
    rows = [accept() for _ in range(12)]
    rung.clear()
    assert deliver(rows[0].pk) == 10
    assert rung == [None]
    assert deliver() == 2
    assert rung == [None]


def test_worker_that_has_worked_for_long_leaves_the_rest_to_another(
    accept: Accept, rung: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [accept() for _ in range(3)]
    rung.clear()
    monkeypatch.setattr(timing, "LONGEST_RUN", 0)
    assert deliver(rows[0].pk) == 1
    assert rung == [None]


def test_djangos_tasks_are_a_queue(accept: Accept, cloudflare: Any, settings: Any) -> None:
    tasks = pytest.importorskip("django.tasks", reason="this Django has no Tasks")
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "tests.background.django_tasks.ring"}
    row = accept()
    bell.bell()(row.pk)  # again: each thread has a backend of its own, and save() rings in another
    (result,) = tasks.default_task_backend.results
    assert result.args == [row.pk]
    result.task.func(*result.args)
    assert row.name in cloudflare.images


def test_huey_is_never_imported_where_it_is_not_installed() -> None:
    code = """
import sys, django
from django.conf import settings
settings.configure(INSTALLED_APPS=["cf_images"], DATABASES={"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
django.setup()
import cf_images.tasks
from cf_images.background import bell
assert bell.queue() == "none"
assert not bell.ring()
settings.CF_IMAGES = {"QUEUE": "huey"}
assert not bell.ring()
import cf_images.tasks
assert not [name for name in sys.modules if name.split(".")[0] == "huey"], "huey"
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
