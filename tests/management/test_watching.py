"""How far transfers are, on a terminal and elsewhere; and Ctrl-C."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management.base import BaseCommand
from django.db import OperationalError
from django.utils import timezone

from cf_images.background import circuit_breaker
from cf_images.background.transfers import new_row, transfers
from cf_images.management import watching
from cf_images.models import CircuitBreaker, Worker


@pytest.fixture
def command() -> BaseCommand:
    return BaseCommand(stdout=io.StringIO(), stderr=io.StringIO(), no_color=True)


def printed(command: Any) -> str:
    return str(command.stdout.getvalue() + command.stderr.getvalue())


@pytest.fixture
def rows(db: Any) -> Callable[[], Any]:
    """Four files that are yet to be copied."""
    for number in range(4):
        name = f"{number}.png"
        new_row(source="default", target="cloudflare_images", source_name=name, name=name).save()
    return transfers


def finishing(*counts: int) -> Callable[[float], bool]:
    """A wait in which as many rows are finished; then it is over."""
    left = iter(counts)

    def wait(_: float) -> bool:
        count = next(left, None)
        if count is None:
            return True
        unfinished = transfers().exclude(next_attempt_at=None).values_list("pk", flat=True)
        transfers().filter(pk__in=list(unfinished[:count])).update(next_attempt_at=None)
        return False

    return wait


def test_elsewhere_there_are_plain_lines(command: Any, rows: Any) -> None:
    watching.watch(command, rows, finishing(0, 3, 1, 1))
    lines = printed(command).splitlines()
    assert lines[0] == "4 files to copy."
    assert lines[1] == "0 of 4 files."
    assert lines[2].startswith("3 of 4 files, ")
    assert lines[2].endswith("a second, about 0 seconds left.")
    assert len(lines) == 3, "it ends with the last file"


def test_a_quiet_command_prints_nothing(command: Any, rows: Any) -> None:
    watching.watch(command, rows, finishing(3), is_quiet=True)
    assert printed(command) == ""


def test_nothing_to_copy_is_not_waited_for(command: Any, db: Any) -> None:
    def wait(_: float) -> bool:
        raise AssertionError

    watching.watch(command, transfers, wait)
    assert printed(command) == ""


def test_a_pause_of_the_account_is_said(command: Any, rows: Any, settings: Any) -> None:
    CircuitBreaker.objects.create(
        account_key=rows().first().account,
        paused_until=timezone.now() + timedelta(minutes=5),
        reason=circuit_breaker.RATE_LIMITED,
    )
    watching.watch(command, rows, finishing(1))
    assert "are paused until" in printed(command)
    assert circuit_breaker.RATE_LIMITED in printed(command)


def test_a_worker_that_is_missing_is_said(command: Any, rows: Any) -> None:
    rows().update(created_at=timezone.now() - timedelta(minutes=3))
    watching.watch(command, rows, finishing(0), has_workers=True)
    assert "No worker has processed anything yet, although work has been due since" in printed(command)


@pytest.mark.parametrize("case", ["has just begun", "is not the workers'", "has a worker"])
def test_a_worker_is_not_missed_where_work(case: str, command: Any, rows: Any) -> None:
    due_at = timezone.now() - timedelta(minutes=1 if case == "has just begun" else 3)
    rows().update(created_at=due_at)
    if case == "has a worker":
        Worker.objects.create(name="one", seen_at=timezone.now(), worked_at=timezone.now())
    watching.watch(command, rows, finishing(0), has_workers=case != "is not the workers'")
    assert printed(command).splitlines() == ["4 files to copy.", "0 of 4 files."]


def test_a_database_that_is_away_for_a_moment_is_waited_for(command: Any, rows: Any) -> None:
    failures = iter([False, True, False, False])

    def found() -> Any:
        if next(failures):
            raise OperationalError("gone")
        return rows()

    watching.watch(command, found, finishing(1, 1))
    assert printed(command).splitlines()[1].startswith("2 of 4 files")


def test_a_terminal_shows_a_bar(command: Any, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = SimpleNamespace(isatty=lambda: True, written=[], flush=lambda: None, encoding="utf-8")
    terminal.write = terminal.written.append
    monkeypatch.setattr(sys, "stderr", terminal)
    watching.watch(command, rows, finishing(1, 3))
    assert "4/4" in "".join(terminal.written)
    assert printed(command) == "4 files to copy.\n"


class TestStopping:
    """Ctrl-C and SIGTERM."""

    @pytest.fixture(autouse=True)
    def _handlers(self) -> Iterator[None]:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        yield
        assert {number: signal.getsignal(number) for number in before} == before

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_the_first_asks_to_stop_with_a_message(self, command: Any, number: int) -> None:
        with watching.stopped_by_signals(command, "Finishing the current files …") as stop:
            assert not stop.is_set()
            os.kill(os.getpid(), number)
            assert stop.is_set()
        assert printed(command) == "Finishing the current files …\n"

    def test_a_second_ctrl_c_ends_it_at_once(self, command: Any) -> None:
        def interrupt() -> None:
            with watching.stopped_by_signals(command, "…"):
                for _ in "ab":
                    signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            interrupt()

    def test_another_thread_handles_no_signals(self, command: Any) -> None:
        found: list[Any] = []

        def work() -> None:
            with watching.stopped_by_signals(command, "…") as stop:
                found.append(stop.is_set())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert found == [False]


def test_waits_end_with_what_they_wait_for() -> None:
    stop, future = threading.Event(), Future[None]()
    assert not watching.is_set(stop)(0)
    assert not watching.is_over(future)(0)
    stop.set()
    future.set_exception(ValueError())
    assert watching.is_set(stop)(0)
    assert watching.is_over(future)(0)
