"""What rendering may cost a process: each rendition once, few at a time, and a share of the time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from cf_images.views import render_slots
from cf_images.views.render_slots import BusyError, RenderSlots


class Blocked:
    """Work that ends when the test lets it."""

    def __init__(self) -> None:
        self.started, self.may_end = threading.Event(), threading.Event()
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        self.started.set()
        assert self.may_end.wait(10)
        return "rendered"


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> Callable[[], str]:
        def take() -> str:
            self.now += seconds
            return "rendered"

        return take


@pytest.fixture
def pool() -> ThreadPoolExecutor:
    with ThreadPoolExecutor(8) as pool:
        yield pool  # type: ignore[misc]


def test_two_requests_for_one_rendition_share_the_work(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots, work, share = RenderSlots(wait=10), Blocked(), render_slots._Running.result

    def let_it_end(running: render_slots._Running, timeout: float) -> object:
        work.may_end.set()
        return share(running, timeout)

    monkeypatch.setattr(render_slots._Running, "result", let_it_end)
    first = pool.submit(slots.once, "a", work)
    assert work.started.wait(10)
    assert slots.once("a", work) == first.result(10) == "rendered"
    assert work.calls == 1
    assert slots.once("a", lambda: "anew") == "anew", "it is remembered only while it runs"


def test_whoever_comes_while_it_runs_does_not_run_it(pool: ThreadPoolExecutor) -> None:
    slots, work = RenderSlots(wait=0), Blocked()
    running = pool.submit(slots.once, "a", work)
    assert work.started.wait(10)
    with pytest.raises(BusyError):
        slots.once("a", work)
    work.may_end.set()
    assert running.result(10) == "rendered"
    assert work.calls == 1


def test_only_two_render_at_a_time_and_the_next_does_not_wait(pool: ThreadPoolExecutor) -> None:
    slots, blocked = RenderSlots(wait=0), [Blocked(), Blocked()]
    running = [pool.submit(slots.once, number, work) for number, work in enumerate(blocked)]
    assert all(work.started.wait(10) for work in blocked)
    with pytest.raises(BusyError):
        slots.once("third", lambda: "rendered")
    for work in blocked:
        work.may_end.set()
    assert [one.result(10) for one in running] == ["rendered", "rendered"]
    assert slots.once("third", lambda: "rendered") == "rendered"


def test_rendering_gets_a_share_of_the_time() -> None:
    clock = Clock()
    slots = RenderSlots(clock=clock)
    rendered = 0
    for number in range(20):
        try:
            slots.once(number, clock.work(0.3))
        except BusyError:
            continue
        rendered += 1
    assert rendered <= 2, "twenty requests at once would keep a server with one thread busy for six seconds"
    clock.now += 100
    slots.once("later", clock.work(0.3))
    for number in range(100):
        clock.now += 0.1
        try:
            slots.once(f"steady {number}", clock.work(0.1))
        except BusyError:
            continue
        rendered += 1
    assert 30 < rendered < 80, "about four of ten seconds"


def test_a_failure_reaches_one_and_frees_the_slot(pool: ThreadPoolExecutor) -> None:
    slots = RenderSlots(slots=1)

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        slots.once("a", fail)
    assert slots.once("a", lambda: "rendered") == "rendered"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_slots_of_its_own() -> None:
    before = render_slots._slots
    child = os.fork()
    if not child:
        os._exit(render_slots._slots is before)
    assert os.waitpid(child, 0)[1] == 0
