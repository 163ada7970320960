"""``manage.py cf_images deliver``: the worker of those who have no queue."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError

from cf_images.management.subcommands import deliver
from cf_images.models import Upload

pytestmark = pytest.mark.django_db(transaction=True)

Accept = Callable[..., Upload]


def test_delivers_what_is_due_and_stops(accept: Accept, cloudflare: Any) -> None:
    rows = [accept() for _ in range(3)]
    call_command("cf_images", "deliver")
    assert set(cloudflare.images) == {row.name for row in rows}


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal(
    accept: Accept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, terminal: bool
) -> None:
    for _ in range(3):
        accept()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    call_command("cf_images", "deliver")
    assert ("3/3" in capsys.readouterr().err) is terminal


def test_loop_waits_for_more_and_finishes_when_interrupted(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    idle = threading.Event()
    monkeypatch.setattr(deliver, "_IDLE", 0.01)
    monkeypatch.setattr(deliver, "deliver_one", lambda: bool(idle.set()))

    def interrupted(_: Any) -> None:
        assert idle.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(deliver, "wait", interrupted)
    call_command("cf_images", "deliver", "--loop", "--workers", "2")
    assert "Finishing" in capsys.readouterr().err


def test_database_that_is_away_ends_a_run_but_not_a_service(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> bool:
        raise DatabaseError

    monkeypatch.setattr(deliver, "deliver_one", away)
    with pytest.raises(DatabaseError):
        deliver._tried(loop=False)
    assert not deliver._tried(loop=True)
    assert "does not answer" in caplog.text
