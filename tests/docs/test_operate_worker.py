"""The page about the worker: each queue is told of a row, and processes it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from huey.consumer_options import OptionParserHandler

from cf_images import conf
from cf_images.background import pace, queue_notifier, timing
from cf_images.models import Upload
from tests.background import conftest as background
from tests.docs import pages

PAGE = "how-to/worker.md"
TEXT = (pages.DOCS / PAGE).read_text(encoding="utf-8")


Accept = Callable[..., Upload]
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process


@pytest.fixture
def queues(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], ModuleType]:
    """Write a block of the page into ``mysite/queues.py``, and return that module."""

    def module(beginning: str) -> ModuleType:
        (tmp_path / "mysite").mkdir()
        (tmp_path / "mysite/__init__.py").touch()
        (tmp_path / "mysite/queues.py").write_text(pages.block(PAGE, beginning).text)
        monkeypatch.syspath_prepend(tmp_path)
        for name in ("mysite", "mysite.queues"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        import mysite.queues

        return mysite.queues

    yield module  # type: ignore[misc]  # a fixture
    for name in ("mysite", "mysite.queues"):
        sys.modules.pop(name, None)


def use(settings: Any, queue: str) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": queue}


@pytest.mark.django_db(transaction=True)
def test_celery(
    accept: Accept, cloudflare: Any, settings: Any, queues: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for Celery: a task is a function with ``delay``."""
    sent: list[tuple[Any, Any]] = []

    def shared_task(**options: Any) -> Callable[[Any], Any]:
        assert options == {"ignore_result": True}

        def decorate(function: Any) -> Any:
            function.delay = lambda hint: sent.append((function, hint))
            return function

        return decorate

    celery = ModuleType("celery")
    celery.shared_task = shared_task  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "celery", celery)
    queues("# mysite/queues.py, for Celery")
    use(settings, "mysite.queues.notify")
    row = accept()
    (task, hint), *_ = sent
    assert hint == row.pk
    task(hint)
    assert list(cloudflare.images) == [row.name]


@pytest.mark.django_db(transaction=True)
def test_djangos_tasks(accept: Accept, cloudflare: Any, settings: Any, queues: Any) -> None:
    tasks = pytest.importorskip("django.tasks", reason="this Django has no Tasks")
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}
    module = queues("# mysite/queues.py, for Django's tasks")
    use(settings, "mysite.queues.notify")
    row = accept()
    module.notify(row.pk)  # again: each thread has a backend of its own, and save() notifies in another
    (result,) = tasks.default_task_backend.results
    result.task.func(*result.args)
    assert list(cloudflare.images) == [row.name]


def test_settings_of_the_page(settings: Any, tmp_path: Path) -> None:
    names: dict[str, Any] = {"BASE_DIR": tmp_path, "INSTALLED_APPS": []}
    pages.block(PAGE, "# settings.py\nINSTALLED_APPS").run(names)
    assert names["INSTALLED_APPS"] == ["huey.contrib.djhuey", "cf_images"]
    pages.block(PAGE, "# settings.py, with an instance").run(names)
    assert names["HUEY"].name == "mysite"
    assert names["HUEY"].immediate is False
    pages.block(PAGE, "# settings.py, uploads apart from the queue").run(names)
    settings.CF_IMAGES = names["CF_IMAGES"]
    assert queue_notifier.sender() is None
    assert not queue_notifier.uses_huey()
    pages.block(PAGE, "# settings.py, with a limit of 2,400 requests in five minutes").run(names)
    settings.CF_IMAGES = names["CF_IMAGES"]
    conf.clear_cache()
    assert pace.allowed_rate("any") == pytest.approx(6.48)


def test_options_of_huey_exist() -> None:
    known = {option for option, _, _ in OptionParserHandler().get_worker_options()}
    (command,) = re.findall(r"^\$ python manage\.py run_huey (.*)$", TEXT, re.M)
    used = set(re.findall(r"-\w\b", command))
    assert used <= known
    assert used == set(re.findall(r"^\| `(-\w) \w+` \|", TEXT, re.M))


def test_durations_of_the_page_are_those_of_the_code() -> None:
    for words, seconds in {
        "ends after five seconds": (timing.MAX_RUN_SECONDS, 5),
        "taken over after 50 seconds": (timing.LEASE.total_seconds(), 50),
        "One request takes 40 seconds at most": (timing.REQUEST_SECONDS, 40),
        "two minutes": (timing.FETCHED_BY_CLOUDFLARE.total_seconds(), 120),
        "pauses of up to an hour": (timing.MAX_PAUSE.total_seconds(), 3600),
        "that of this site for five minutes": (timing.ASSUME_PENDING_SECONDS, 300),
        "a clock that is right within a minute": (timing.CLOCK_SKEW.total_seconds(), 60),
        "3.2 requests a second": (round(pace.allowed_rate("any") or 0, 1), 3.2),
    }.items():
        assert words.lower() in " ".join(TEXT.split()).lower(), words
        assert seconds[0] == seconds[1], words
