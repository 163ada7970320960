"""Notifying the queue: whatever happens to it, the image is safe and save() returns."""

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

from cf_images.background import huey_tasks, process, queue_notifier, timing
from cf_images.models import Upload
from tests.background.conftest import Clock

pytestmark = pytest.mark.django_db(transaction=True)

Accept = Callable[..., Upload]


@pytest.fixture(autouse=True)
def no_hanging_threads() -> Iterator[None]:
    queue_notifier._hanging.clear()
    yield
    queue_notifier._hanging.clear()


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch, settings: Any, cloudflare: Any) -> list[int | None]:
    """The messages of a queue that is the project's own callable."""
    sent: list[int | None] = []
    monkeypatch.setattr(sys.modules[__name__], "own_queue", sent.append, raising=False)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": f"{__name__}.own_queue"}
    return sent


def test_own_callable_gets_the_key_of_the_row(accept: Accept, messages: list[int | None]) -> None:
    row = accept()
    assert messages == [row.pk]


@pytest.mark.parametrize("error", [OSError("refused"), SystemExit(1), RuntimeError])
def test_queue_that_fails_costs_a_line_in_the_log(
    accept: Accept,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    messages: list[int | None],
    error: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_: int | None) -> None:
        raise error

    monkeypatch.setattr(sys.modules[__name__], "own_queue", broken)
    row = accept()
    assert Upload.objects.filter(pk=row.pk).exists()
    assert "cannot be reached" in caplog.text


def test_only_one_save_waits_for_a_hanging_queue(
    accept: Accept, messages: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(timing, "NOTIFY_SECONDS", 0.05)
    monkeypatch.setattr(sys.modules[__name__], "own_queue", lambda _: release.wait(30))
    accept()
    (hanging,) = queue_notifier._hanging
    monkeypatch.setattr(timing, "NOTIFY_SECONDS", 30)
    began = time.monotonic()
    accept()  # would wait half a minute
    assert time.monotonic() - began < 20
    release.set()
    hanging.join()
    assert queue_notifier.notify()


@pytest.mark.parametrize("listens", [True, False], ids=["hanging", "refusing"])
def test_redis_that_is_down_does_not_stop_save(
    accept: Accept, settings: Any, monkeypatch: pytest.MonkeyPatch, *, listens: bool
) -> None:
    redis = pytest.importorskip("redis")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not listens:
            server.close()
        huey = RedisHuey("down", connection_pool=redis.ConnectionPool(host="127.0.0.1", port=port))
        monkeypatch.setattr(huey_tasks.cf_images_process, "huey", huey)
        monkeypatch.setattr(djhuey, "HUEY", huey)
        monkeypatch.setattr(huey_tasks, "HUEY", huey)
        monkeypatch.setattr(timing, "NOTIFY_SECONDS", 0.2)
        settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "huey"}
        row = accept()
        assert Upload.objects.filter(pk=row.pk).exists()
        assert not queue_notifier.notify()
    for thread in queue_notifier._hanging:
        thread.join()


@pytest.fixture
def queue(settings: Any, monkeypatch: pytest.MonkeyPatch) -> MemoryHuey:
    """huey with a queue that no consumer reads."""
    huey = MemoryHuey("tests")
    huey._registry = djhuey.HUEY._registry
    monkeypatch.setattr(huey_tasks.cf_images_process, "huey", huey)
    monkeypatch.setattr(djhuey, "HUEY", huey)
    monkeypatch.setattr(huey_tasks, "HUEY", huey)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "huey"}
    return huey


def test_huey_message_is_one_integer_without_retries(accept: Accept, queue: MemoryHuey) -> None:
    row = accept()
    (task,) = queue.pending()
    assert (task.args, task.kwargs, task.retries) == ((row.pk,), {}, 0)


def test_huey_task_processes_the_row(accept: Accept, cloudflare: Any) -> None:
    row = accept()
    assert huey_tasks.cf_images_process.call_local(row.pk) is None
    assert row.name in cloudflare.images


def test_huey_sweeps_each_minute() -> None:
    (sweep,) = (task for task in djhuey.HUEY._registry.periodic_tasks if task.name == "cf_images_sweep")
    minutes = [datetime(2030, 1, 1, hour, minute, tzinfo=UTC) for hour in (0, 13) for minute in (0, 17, 59)]
    assert all(sweep.validate_datetime(minute) for minute in minutes)


def test_immediate_mode_uploads_within_the_request(accept: Accept, cloudflare: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "huey"}
    assert djhuey.HUEY.immediate
    row = accept()
    assert row.name in cloudflare.images


def test_sweep_sends_a_message_for_every_ten_due_rows_and_processes_none(
    accept: Accept, cloudflare: Any, queue: MemoryHuey, clock: Clock
) -> None:
    for _ in range(25):
        accept()
    queue.flush()
    huey_tasks.cf_images_sweep.call_local()
    assert len(queue.pending()) == 3
    assert not cloudflare.requests


def test_two_sweeps_do_no_harm(accept: Accept, queue: MemoryHuey, cloudflare: Any) -> None:
    accept()
    queue.flush()
    huey_tasks.cf_images_sweep.call_local()
    huey_tasks.cf_images_sweep.call_local()
    assert len(queue.pending()) == 2
    while task := queue.dequeue():
        huey_tasks.cf_images_process.call_local(*task.args)
    assert len(cloudflare.requests) == 1


def test_sweep_stops_at_the_first_message_that_the_queue_refuses(
    accept: Accept, queue: MemoryHuey, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(25):
        accept()
    sent: list[object] = []

    def refuse(*message: object, **_: object) -> None:
        sent.append(message)
        raise ConnectionError

    monkeypatch.setattr(queue.storage, "enqueue", refuse)
    with pytest.raises(ConnectionError):  # huey logs it
        huey_tasks.cf_images_sweep.call_local()
    assert len(sent) == 1


def test_worker_with_more_due_notifies_again(
    accept: Accept, messages: list[int | None], cloudflare: Any
) -> None:
    rows = [accept() for _ in range(12)]
    messages.clear()
    assert process(rows[0].pk) == 10
    assert messages == [None]
    assert process() == 2
    assert messages == [None]


def test_worker_that_has_run_for_long_notifies_again(
    accept: Accept, messages: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [accept() for _ in range(3)]
    messages.clear()
    monkeypatch.setattr(timing, "MAX_RUN_SECONDS", 0)
    assert process(rows[0].pk) == 1
    assert messages == [None]


def test_huey_task_with_more_due_sends_another_message(
    accept: Accept, queue: MemoryHuey, cloudflare: Any
) -> None:
    rows = [accept() for _ in range(12)]
    queue.flush()
    huey_tasks.cf_images_process.call_local(rows[0].pk)
    (task,) = queue.pending()
    assert (task.name, task.args, task.kwargs) == ("cf_images_process", (), {})
    assert len(cloudflare.images) == 10
    queue.flush()
    huey_tasks.cf_images_process.call_local()
    assert not queue.pending()
    assert len(cloudflare.images) == 12


def test_huey_task_that_has_run_for_long_sends_another_message(
    accept: Accept, queue: MemoryHuey, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [accept() for _ in range(3)]
    queue.flush()
    monkeypatch.setattr(timing, "MAX_RUN_SECONDS", 0)
    huey_tasks.cf_images_process.call_local(rows[0].pk)
    assert len(queue.pending()) == 1
    assert list(cloudflare.images) == [rows[0].name]


def test_immediate_task_with_more_due_does_not_call_itself(
    accept: Accept, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would upload the whole backlog within one request."""
    rows = [accept() for _ in range(3)]
    monkeypatch.setattr(timing, "MAX_ROWS", 1)
    assert djhuey.HUEY.immediate
    huey_tasks.cf_images_process.call_local(rows[0].pk)
    assert list(cloudflare.images) == [rows[0].name]


def test_djangos_tasks_are_a_queue(accept: Accept, cloudflare: Any, settings: Any) -> None:
    tasks = pytest.importorskip("django.tasks", reason="this Django has no Tasks")
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "tests.background.django_tasks.notify"}
    row = accept()
    send = queue_notifier.sender()
    assert send is not None
    send(row.pk)  # again: each thread has a backend of its own, and save() notifies in another
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
from cf_images.background import queue_notifier
assert queue_notifier.queue() == "none"
assert not queue_notifier.notify()
settings.CF_IMAGES = {"QUEUE": "huey"}
assert not queue_notifier.notify()
import cf_images.tasks
assert not [name for name in sys.modules if name.split(".")[0] == "huey"], "huey"
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
