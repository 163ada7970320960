"""``manage.py cf_images process``: the worker of a site without a queue."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError

from cf_images.management.subcommands import process
from cf_images.models import Upload
from tests.background import conftest as background

pytestmark = pytest.mark.django_db(transaction=True)

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process


def test_processes_what_is_due_and_stops(accept: Accept, cloudflare: Any) -> None:
    rows = [accept() for _ in range(3)]
    call_command("cf_images", "process")
    assert set(cloudflare.images) == {row.name for row in rows}


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal(
    accept: Accept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, terminal: bool
) -> None:
    for _ in range(3):
        accept()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    call_command("cf_images", "process")
    assert ("3/3" in capsys.readouterr().err) is terminal


def test_loop_waits_for_more_and_finishes_when_interrupted(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    idle = threading.Event()
    monkeypatch.setattr(process, "_IDLE", 0.01)
    monkeypatch.setattr(process, "process_one", lambda: bool(idle.set()))

    def interrupted(_: Any) -> None:
        assert idle.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "wait", interrupted)
    call_command("cf_images", "process", "--loop", "--workers", "2")
    assert "Finishing" in capsys.readouterr().err


def test_database_that_is_away_ends_a_run_but_not_a_service(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> bool:
        raise DatabaseError

    monkeypatch.setattr(process, "process_one", away)
    with pytest.raises(DatabaseError):
        process._try_one(loop=False)
    assert not process._try_one(loop=True)
    assert "does not respond" in caplog.text
