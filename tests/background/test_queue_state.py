"""The package is a guest in the site's queue: as many messages as there are workers, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from cf_images.background import heartbeat, queue_state
from cf_images.models import QueueState

pytestmark = pytest.mark.django_db


class Clock:
    """The module's time."""

    def __init__(self) -> None:
        self.now = timezone.now()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(queue_state.timezone, "now", lambda: clock.now)
    return clock


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_to(count: int) -> None:
        monkeypatch.setattr(heartbeat, "threads", lambda: count)

    set_to(0)
    return set_to


def sent(count: int) -> int:
    """Try to send so many messages, and return how many may be sent."""
    return sum(queue_state.reserve_message() for _ in range(count))


def test_without_a_known_worker_one_message_wakes_the_first(workers: Any) -> None:
    assert sent(1500) == 1


def test_there_are_as_many_messages_as_workers(workers: Any) -> None:
    workers(4)
    assert sent(1500) == 4


def test_received_message_makes_room_for_another(workers: Any) -> None:
    workers(2)
    assert sent(5) == 2
    queue_state.received()
    assert sent(5) == 1


def test_message_that_nobody_counted_makes_no_more_room(workers: Any) -> None:
    """Such as one that was sent before an update of this package."""
    for _ in range(5):
        queue_state.received()
    assert sent(5) == 1


def test_messages_that_a_queue_has_lost_are_forgotten_after_a_minute(workers: Any, clock: Clock) -> None:
    assert sent(2) == 1
    clock.now += timedelta(seconds=59)
    assert sent(2) == 0
    clock.now += timedelta(seconds=2)
    assert sent(2) == 1


def test_clock_that_was_set_back_does_not_keep_lost_messages(workers: Any, clock: Clock) -> None:
    assert sent(2) == 1
    clock.now -= timedelta(hours=1)
    assert sent(2) == 1


def wake_in(clock: Clock, seconds: float) -> bool:
    at: datetime = clock.now + timedelta(seconds=seconds)
    return queue_state.reserve_wake(at)


def test_one_message_arrives_later_for_all_that_is_due_then(clock: Clock) -> None:
    assert wake_in(clock, 10)
    assert not wake_in(clock, 10)
    assert not wake_in(clock, 30), "the worker that wakes sees to the rest"
    assert not wake_in(clock, 9), "a moment is no reason"


def test_what_is_due_much_earlier_gets_a_message_of_its_own(clock: Clock) -> None:
    assert wake_in(clock, 30)
    assert wake_in(clock, 5)
    assert not wake_in(clock, 30)


def test_later_message_that_arrived_makes_room(clock: Clock) -> None:
    assert wake_in(clock, 10)
    clock.now += timedelta(seconds=10)
    queue_state.woken()
    assert QueueState.objects.get().wake_at is None
    assert wake_in(clock, 10)


def test_message_that_arrives_early_does_not_cancel_a_later_one(clock: Clock) -> None:
    assert wake_in(clock, 30)
    queue_state.woken()
    assert not wake_in(clock, 30)


def test_later_message_that_a_queue_has_lost_is_replaced(clock: Clock) -> None:
    assert wake_in(clock, 10)
    clock.now += timedelta(seconds=20)
    assert wake_in(clock, 10)
