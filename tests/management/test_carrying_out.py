"""Transfers are carried out while a command fills in the others."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management.base import BaseCommand

from cf_images.background.rows import transfers
from cf_images.background.transfers import new_row
from cf_images.management import carrying_out, watching
from cf_images.management.carrying_out import Chosen, carry_out
from cf_images.models import State, Transfer

pytestmark = pytest.mark.django_db

OPTIONS = {"enqueue": False, "threads": 1, "rate": None, "verbosity": 1}


class Run:
    """What a run is to the command; it ends at once."""

    made: list[Run]

    def __init__(self, rows: Any, *, threads: int, rate: float | None) -> None:
        self.problem: str | None = None
        self.count = 0
        self.rows = rows
        self.ended = threading.Event()
        self.made.append(self)

    def run(self, stop: threading.Event, on_tried: Callable[[int], object]) -> None:
        self.count += 1
        self.ended.set()


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    Run.made = []
    monkeypatch.setattr(carrying_out, "Run", Run)
    return Run.made


@pytest.fixture
def command() -> BaseCommand:
    return BaseCommand(stdout=io.StringIO(), stderr=io.StringIO())


def test_rows_that_come_after_a_run_has_ended_are_carried_out(command: Any, runs: list[Run]) -> None:
    def fill(on_batch: Callable[[], object]) -> None:
        on_batch()
        assert runs[0].ended.wait(10), "it begins with the first batch"

    assert carry_out(command, OPTIONS, Chosen(transfers), threading.Event(), fill=fill) is None
    assert runs[0].count >= 2


def test_a_run_waits_for_the_first_rows(command: Any, runs: list[Run]) -> None:
    def fill(_: Callable[[], object]) -> None:
        assert not runs[0].ended.wait(0.05)

    carry_out(command, OPTIONS, Chosen(transfers), threading.Event(), fill=fill)
    assert runs[0].count == 1


def test_an_error_while_rows_are_filled_in_ends_the_run(command: Any, runs: list[Run]) -> None:
    def fill(on_batch: Callable[[], object]) -> None:
        on_batch()
        raise ValueError("disk full")

    stop = threading.Event()
    with pytest.raises(ValueError, match="disk full"):
        carry_out(command, OPTIONS, Chosen(transfers), stop, fill=fill)
    assert stop.is_set()


def test_a_stop_is_not_followed_by_another_run(command: Any, runs: list[Run]) -> None:
    stop = threading.Event()
    stop.set()
    carry_out(command, OPTIONS, Chosen(transfers), stop)
    assert runs[0].count == 0


def test_workers_are_waited_for_only_where_they_have_the_rows(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that was stopped has left a file to which no row refers any more: no worker takes that."""
    monkeypatch.setattr(watching, "LINE_SECONDS", 0)
    new_row(source="default", target="/copies", source_name="a.png", name="a.png", is_enqueued=False).save()
    stop, looks = threading.Event(), iter(range(100))
    monkeypatch.setattr(stop, "wait", lambda _: next(looks) == 50)
    carry_out(command, {**OPTIONS, "enqueue": True}, Chosen(transfers), stop)
    assert next(looks) == 0


def _row(name: str) -> Transfer:
    row = new_row(source="default", target="/copies", source_name=name, name=name, is_enqueued=True)
    row.save()
    return row


def test_rows_of_a_site_in_use_do_not_keep_a_command_from_ending(command: Any, runs: list[Run]) -> None:
    """What visitors upload after the ledger was filled in is for the workers; a mirror asks them."""

    def fill(on_batch: Callable[[], object]) -> None:
        on_batch()
        assert runs[0].ended.wait(10)
        _row("filled.png")

    carry_out(command, {**OPTIONS, "verbosity": 0}, Chosen(transfers), threading.Event(), fill=fill)
    _row("late.png")
    assert [row.name for row in runs[0].rows()] == ["filled.png"]


def test_workers_are_not_waited_for_because_of_rows_of_a_site_in_use(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LINE_SECONDS", 0)
    row = _row("filled.png")
    stop = threading.Event()

    def wait(_: float) -> bool:
        late = _row(f"late{transfers().count()}.png")
        assert late.pk < row.pk + 10, "it does not end"
        transfers().filter(pk=row.pk).update(state=State.STORED, next_attempt_at=None)
        return False

    monkeypatch.setattr(stop, "wait", wait)
    carry_out(command, {**OPTIONS, "enqueue": True}, Chosen(transfers), stop)


def test_a_command_without_rows_does_not_wait_for_those_of_others(command: Any, runs: list[Run]) -> None:
    carry_out(command, OPTIONS, Chosen(transfers), threading.Event())
    _row("late.png")
    assert not runs[0].rows()
