"""Notifying the queue: whatever happens to it, the image is safe and save() returns."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from huey import MemoryHuey, RedisHuey
from huey.contrib import djhuey

from cf_images.background import (
    circuit_breaker,
    heartbeat,
    huey_tasks,
    process,
    queue_notifier,
    timing,
    worker,
)
from cf_images.background.circuit_breaker import Admission
from cf_images.models import QueueState, Upload
from tests.background.conftest import ALIAS, destination_of

pytestmark = pytest.mark.django_db(transaction=True)

Accept = Callable[..., Upload]


@pytest.fixture(autouse=True)
def no_hanging_threads() -> Iterator[None]:
    queue_notifier._hanging.clear()
    queue_notifier._failing.clear()
    yield
    queue_notifier._hanging.clear()
    queue_notifier._failing.clear()


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


def empty(queue: MemoryHuey) -> None:
    queue.flush()
    QueueState.objects.all().delete()


def seconds_until(task: Any) -> float:
    """Return when the message wakes a worker; huey hands it out before, and sets it aside."""
    eta: datetime = task.eta
    return (eta - datetime.now(UTC).replace(tzinfo=None)).total_seconds()


def test_saves_send_no_more_messages_than_there_are_workers(
    accept: Accept, queue: MemoryHuey, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        accept()
    assert len(queue.pending()) == 1
    monkeypatch.setattr(heartbeat, "threads", lambda: 4)
    for _ in range(25):
        accept()
    assert len(queue.pending()) == 4


def test_sweep_sends_one_message_and_processes_nothing(
    accept: Accept, cloudflare: Any, queue: MemoryHuey
) -> None:
    for _ in range(25):
        accept()
    empty(queue)
    huey_tasks.cf_images_sweep.call_local()
    huey_tasks.cf_images_sweep.call_local()
    assert len(queue.pending()) == 1
    assert not cloudflare.requests


def test_sweep_sends_none_for_paused_accounts(accept: Accept, cloudflare: Any, queue: MemoryHuey) -> None:
    accept()
    destination = destination_of(ALIAS)
    circuit_breaker.rate_limited(Admission(account_key=destination.account_key), retry_after=90)
    empty(queue)
    for _ in range(3):
        huey_tasks.cf_images_sweep.call_local()
    (task,) = queue.pending()
    assert seconds_until(task) > 80, "it arrives when the pause is over"


def test_worker_wakes_another_where_there_is_work_for_two(
    accept: Accept, queue: MemoryHuey, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [accept() for _ in range(5)]
    empty(queue)
    during: list[int] = []
    real = worker.process

    def process_and_look(hint: int | None) -> Any:
        during.append(len(queue.pending()))
        return real(hint)

    monkeypatch.setattr(worker, "process", process_and_look)
    huey_tasks.cf_images_process.call_local(rows[0].pk)
    assert during == [1]


def test_retry_that_is_due_soon_wakes_a_worker_then(
    accept: Accept, cloudflare: Any, queue: MemoryHuey
) -> None:
    row = accept()
    Upload.objects.update(next_attempt_at=timezone.now() + timedelta(seconds=20))
    empty(queue)
    huey_tasks.cf_images_process.call_local(row.pk)
    huey_tasks.cf_images_process.call_local(row.pk)
    (task,) = queue.pending()
    assert 15 < seconds_until(task) <= 21


def test_message_that_the_queue_refuses_is_not_counted(
    accept: Accept, queue: MemoryHuey, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept()
    empty(queue)
    enqueue = queue.storage.enqueue

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(queue.storage, "enqueue", refuse)
    assert not queue_notifier.notify()
    monkeypatch.setattr(queue.storage, "enqueue", enqueue)
    assert queue_notifier.notify()
    assert len(queue.pending()) == 1


def test_worker_that_has_run_for_long_notifies_again(
    accept: Accept, messages: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [accept() for _ in range(2)]
    messages.clear()
    monkeypatch.setattr(timing, "MAX_RUN_SECONDS", 0)
    assert process(rows[0].pk) == 1
    assert messages == [None]


def test_worker_of_another_queue_takes_all_that_is_due(
    accept: Accept, messages: list[int | None], cloudflare: Any
) -> None:
    rows = [accept() for _ in range(12)]
    assert messages == [rows[0].pk], "a second message would do nothing"
    assert process(rows[0].pk) == 12
    assert messages == [rows[0].pk, None], "work for another worker"
    assert len(cloudflare.images) == 12


def test_huey_task_that_has_run_for_long_sends_another_message(
    accept: Accept, queue: MemoryHuey, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [accept() for _ in range(3)]
    empty(queue)
    monkeypatch.setattr(timing, "MAX_RUN_SECONDS", 0)
    huey_tasks.cf_images_process.call_local(rows[0].pk)
    assert len(queue.pending()) == 1
    assert list(cloudflare.images) == [rows[0].name]


def test_immediate_task_with_more_due_does_not_call_itself(
    accept: Accept, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would upload the whole backlog within one request."""
    rows = [accept() for _ in range(3)]
    monkeypatch.setattr(timing, "MAX_RUN_SECONDS", 0)
    assert djhuey.HUEY.immediate
    huey_tasks.cf_images_process.call_local(rows[0].pk)
    assert list(cloudflare.images) == [rows[0].name]


@pytest.mark.parametrize("queue_setting", [3, ["huey"], "no.such.module"])
def test_wrong_queue_loses_no_image(accept: Accept, settings: Any, queue_setting: object) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": queue_setting}
    assert Upload.objects.filter(pk=accept().pk).exists()


def test_failing_queue_is_logged_once_until_it_works_again(
    accept: Accept,
    messages: list[int | None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_: int | None) -> None:
        raise OSError

    monkeypatch.setattr(sys.modules[__name__], "own_queue", broken)
    for _ in range(3):
        accept()
    monkeypatch.setattr(sys.modules[__name__], "own_queue", messages.append)
    accept()
    found = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(found) == 2
    assert "cannot be reached" in found[0]
    assert "again" in found[1]


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
