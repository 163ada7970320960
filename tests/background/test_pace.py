"""The pace of requests: below the configured limit, shared by processes, and lowered by a rate limit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from cf_images import conf
from cf_images.background import pace
from cf_images.background.pace import Pace, Ticket
from cf_images.client.responses import RateLimit
from cf_images.models import AccountPace

pytestmark = pytest.mark.django_db

KEY = "https://api.example/accounts/1"


class Time:
    """The clock of the module: sleeping moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=timezone.get_default_timezone())
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.slept += seconds

    def monotonic(self) -> float:
        return self.now.timestamp()

    time = monotonic


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Time]:
    time = Time()
    monkeypatch.setattr(pace.timezone, "now", lambda: time.now)
    monkeypatch.setattr(pace, "time", time)
    yield time
    pace.clear_cache()


def requests_in(clock: Time, seconds: float, *paces: Pace) -> int:
    """Send requests by turns for ``seconds`` and return their number."""
    ends_at, count = clock.now + timedelta(seconds=seconds), 0
    while clock.now < ends_at:
        for found in paces:
            found.acquire(max_wait=float("inf"))
            count += 1
    return count


def test_default_pace_leaves_a_part_of_the_documented_limit_to_the_site(clock: Time) -> None:
    count = requests_in(clock, 300, Pace(KEY))
    assert 1200 * 0.8 <= count <= 1200 * 0.87


@pytest.mark.parametrize(("requests", "seconds"), [(2, 1), (10, 1), (100, 1), (1200, 300)])
def test_pace_is_at_least_four_fifths_of_the_limit_and_stays_below_it(
    settings: Any, clock: Time, requests: int, seconds: int
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (requests, seconds)}
    found = Pace(KEY)
    requests_in(clock, seconds, found)  # the burst of the start
    windows = 10 if seconds == 1 else 2
    count = requests_in(clock, windows * seconds, found)
    assert 0.8 <= count / (windows * requests) < 1


def test_processes_share_the_pace(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (10, 1)}
    count = requests_in(clock, 20, Pace(KEY), Pace(KEY), Pace(KEY))
    assert count <= 20 * 10 * 0.9


def test_slots_after_a_pause_are_given_to_one_process(settings: Any, clock: Time) -> None:
    """Each process has reserved some when one of them is limited."""
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (2, 1)}
    paces = [Pace(KEY) for _ in range(6)]
    requests_in(clock, 2, paces[0])  # the burst of the start
    for found in paces:
        assert found.acquire(max_wait=0) > 0, "it has a slot that is still to come"
    paces[0].limited(pause=1)
    sent: list[datetime] = []
    while len(sent) < 20:
        waits = [found.acquire(max_wait=0) for found in paces]
        sent += [clock.now] * waits.count(0)
        clock.sleep(min(filter(None, waits), default=0.01))
    resumed = [moment for moment in sent if moment >= sent[0] + timedelta(seconds=1)]
    pauses = [later - moment for moment, later in pairwise(resumed)]
    assert min(pauses) > timedelta(seconds=0.5)


def test_accounts_do_not_share_it(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (10, 1)}
    count = requests_in(clock, 10, Pace(KEY), Pace(f"{KEY}2"))
    assert count >= 2 * 10 * 10 * 0.75


def test_without_a_limit_nothing_waits(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    found = Pace(KEY)
    assert [found.acquire(max_wait=0) for _ in range(1000)] == [0] * 1000
    assert not clock.slept


def test_limit_is_learned_from_what_passed(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    found = Pace(KEY)
    for _ in range(6):
        assert AccountPace.objects.filter(limit=None).count() == AccountPace.objects.count(), "by chance"
        clock.sleep(1)
        for _ in range(10):
            found.passed()
        for _ in range(4):  # several at once count once
            found.limited(pause=1)
    assert AccountPace.objects.get().limit == 9
    count = requests_in(clock, 10, found)
    assert 80 <= count <= 93


def test_limits_after_different_numbers_of_requests_are_by_chance(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    found = Pace(KEY)
    for number in (3, 25, 1, 14, 2, 40, 9):
        clock.sleep(1)
        for _ in range(number):
            found.passed()
        found.limited(pause=1)
    assert AccountPace.objects.get().limit is None


class Edge:
    """Answers requests that take ``seconds``: limited as soon as more than ``rate`` come in a second."""

    def __init__(self, clock: Time, rate: int, *, seconds: float, at_random: float = 0) -> None:
        self.clock, self.rate, self.seconds, self.at_random = clock, rate, seconds, at_random
        self.passed = self.limited = self.count = 0
        self.window, self.chance = clock.now, random.Random(1)

    def take(self, pace: Pace) -> None:
        """Send a request as a worker does, and pause as the circuit breaker does."""
        pace.acquire(max_wait=float("inf"))
        self.clock.sleep(self.seconds)
        if self.clock.now >= self.window + timedelta(seconds=1):
            self.window, self.count = self.clock.now, 0
        self.count += 1
        if self.count > self.rate or self.chance.random() < self.at_random:
            self.limited += 1
            pace.limited(pause=1)
            self.clock.sleep(1)
        else:
            self.passed += 1
            pace.passed()


@pytest.mark.parametrize("rate", [2, 3, 10, 100])
def test_pace_settles_below_the_limit_of_an_edge(settings: Any, clock: Time, rate: int) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    found, edge = Pace(KEY), Edge(clock, rate, seconds=1 / (5 * rate))
    began = clock.now
    for _ in range(max(1000, 100 * rate)):
        edge.take(found)
    seconds = (clock.now - began).total_seconds()
    assert edge.passed / seconds > 0.8 * rate
    assert edge.limited <= 30
    assert (AccountPace.objects.get().limit or 0) < 1.2 * rate


class Bucket(Edge):
    """The same, with a token for each request: two a second when ``rate`` is two, at whatever moments."""

    tokens, filled_at = 0.0, 0.0

    def take(self, pace: Pace) -> None:
        """Send a request; one token is needed, and no more than ``rate`` are kept."""
        pace.acquire(max_wait=float("inf"))
        self.clock.sleep(self.seconds)
        now = self.clock.monotonic()
        self.tokens = min(self.rate, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens < 1:
            self.limited += 1
            pace.limited(pause=1)
            self.clock.sleep(1)
        else:
            self.tokens -= 1
            self.passed += 1
            pace.passed()


def test_pace_a_little_above_the_limit_is_not_taken_for_limits_at_random(settings: Any, clock: Time) -> None:
    """It is met every few seconds and not after each pause; without any limit it would be met each second."""
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    found, edge = Pace(KEY), Bucket(clock, 2, seconds=0.01)
    began = clock.now
    while (seconds := (clock.now - began).total_seconds()) < 900:
        edge.take(found)
    assert edge.passed / seconds > 0.8 * 2
    assert edge.limited <= 150
    assert AccountPace.objects.get().ignored_until is None


@pytest.mark.parametrize(("share", "is_mistaken"), [(0.08, False), (0.3, True)])
def test_limits_at_random_do_not_add_up(
    settings: Any, clock: Time, *, share: float, is_mistaken: bool
) -> None:
    """Each costs its pause, and the pace stays that of the workers, or becomes so again."""
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    found, edge = Pace(KEY), Edge(clock, 1000, seconds=0.05, at_random=share)
    began = clock.now
    for _ in range(500):
        edge.take(found)
    seconds = (clock.now - began).total_seconds()
    assert seconds < 500 * 0.05 + edge.limited * 1 + 20
    row = AccountPace.objects.get()
    assert row.limit is None
    assert bool(row.ignored_until) == is_mistaken


def test_limit_that_is_lowered_later_is_learned_after_limits_at_random(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    found = Pace(KEY)
    erratic, steady = Edge(clock, 1000, seconds=0.05, at_random=0.1), Edge(clock, 5, seconds=0.05)
    for _ in range(300):
        erratic.take(found)
    clock.sleep(121)
    for _ in range(300):
        steady.take(found)
    assert steady.limited <= 12
    assert (AccountPace.objects.get().limit or 99) < 6


def test_lowered_pace_grows_again_and_is_forgotten(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (1000, 1)}
    AccountPace.objects.create(account_key=KEY, limit=10, limited_at=clock.now)
    found = Pace(KEY)
    assert requests_in(clock, 10, found) <= 105
    clock.sleep(600)
    assert requests_in(clock, 10, found) > 200
    clock.sleep(36000)
    assert requests_in(clock, 1, found) > 700


def test_slot_that_is_too_far_away_is_kept_for_the_next_call(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (1, 10)}
    found = Pace(KEY)
    assert [found.acquire(max_wait=0), found.acquire(max_wait=0)] == [0, 0]
    wait = found.acquire(max_wait=1)
    assert 11 < wait < 13
    assert found.acquire(max_wait=20) == 0
    assert clock.slept == pytest.approx(wait)


def test_clock_that_was_set_back_does_not_stop_the_pace(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (10, 1)}
    Pace(KEY).acquire(max_wait=float("inf"))
    clock.now -= timedelta(hours=1)
    assert Pace(KEY).acquire(max_wait=1) == 0


@pytest.mark.parametrize("skew", [11, 60])
def test_machines_whose_clocks_differ_share_the_pace(settings: Any, clock: Time, skew: int) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (10, 1)}
    ahead, behind, count = Pace(KEY), Pace(KEY), 0
    for step in range(4000):  # of 20 ms
        count += behind.acquire(max_wait=0) == 0
        clock.now += timedelta(seconds=skew)
        count += ahead.acquire(max_wait=0) == 0
        clock.now -= timedelta(seconds=skew)
        clock.sleep(0.02)
        count *= step > 500  # ten seconds to begin
    assert 0.5 <= count / (3500 * 0.02 * 10) < 1


def test_first_request_of_an_attempt_uses_the_slot_that_was_waited_for(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (1, 1)}
    found = Pace(KEY)
    found.acquire(max_wait=0)
    found.acquire(max_wait=0)
    ticket = Ticket(found, lambda: None)
    ticket.before_request()
    assert not clock.slept
    ticket.before_request()
    assert clock.slept > 1


def test_slots_that_no_worker_takes_are_lost(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (100, 1)}
    found = Pace(KEY)
    found.acquire(max_wait=1)
    clock.sleep(10)
    count = 0
    while not found.acquire(max_wait=0):
        count += 1
    assert count <= 7, "no burst after a pause"


def limit(limit: int, remaining: int, reset: int) -> RateLimit:
    return RateLimit(limit=limit, remaining=remaining, reset=reset)


def test_limit_is_learned_from_headers_before_anything_is_limited(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    found = Pace(KEY)
    found.observe(limit(10, 9, 1))
    assert 85 <= requests_in(clock, 10, found) <= 94
    found.observe(limit(1200, 1100, 300))
    assert 30 <= requests_in(clock, 10, found) <= 40, "never more than remain"


def test_headers_do_not_raise_the_configured_pace(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (10, 1)}
    found = Pace(KEY)
    found.observe(limit(1000, 999, 1))
    assert requests_in(clock, 10, found) <= 83


def test_what_remains_of_a_window_is_not_exceeded(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    found = Pace(KEY)
    found.observe(limit(1200, 10, 100))
    assert requests_in(clock, 90, found) <= 24


def test_rate_of_the_headers_is_not_exceeded_however_many_passed_in_a_second(
    settings: Any, clock: Time
) -> None:
    """Two windows of the limit touch each second of the clock."""
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    found = Pace(KEY)
    found.observe(limit(2, 1, 1))
    for _ in range(3):
        found.passed()
    clock.sleep(0.5)
    found.limited(pause=1)
    clock.sleep(1)
    assert requests_in(clock, 10, found) <= 20
    clock.sleep(120)
    assert requests_in(clock, 10, found) <= 20, "grown above the headers"


def test_what_passed_in_other_processes_counts(settings: Any, clock: Time) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    paces = [Pace(KEY) for _ in range(4)]
    for found in paces:
        found.acquire(max_wait=0)
    clock.sleep(1)
    for found in paces:
        for _ in range(5):
            found.passed()
            clock.sleep(0.04)
        found.passed()
    clock.sleep(0.1)
    AccountPace.objects.update(strikes=9, interval=24, resumes_at=clock.now - timedelta(seconds=1))
    paces[0].limited(pause=1)
    assert 15 <= (AccountPace.objects.get().limit or 0) <= 20


@pytest.mark.parametrize("rate", [(1,), (0, 1), ("a", 1), (1, 2, 3)])
def test_wrong_rate_is_named(settings: Any, rate: Any) -> None:
    settings.CF_IMAGES = {"API_RATE": rate}
    with pytest.raises(ImproperlyConfigured, match=r"API_RATE.*requests and seconds"):
        conf.setting("API_RATE")


def test_slow_process_reserves_no_more_slots_than_it_uses(settings: Any, clock: Time) -> None:
    """Four processes with a thread each, for which a request takes 50 ms, reach what the four could."""
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (100, 1)}
    paces = [Pace(KEY) for _ in range(4)]
    free_at, sent = [clock.now] * 4, 0
    ends_at = clock.now + timedelta(seconds=20)
    while clock.now < ends_at:
        number = free_at.index(min(free_at))
        clock.now = max(clock.now, free_at[number])
        wait = paces[number].acquire(max_wait=0)
        sent += not wait
        free_at[number] = clock.now + timedelta(seconds=wait or 0.05)
    assert sent / 20 > 0.8 * 4 / 0.05


def test_slot_from_before_a_pause_is_not_used(
    settings: Any, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread sleeps until its slot while another one is told to wait."""
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (2, 1)}
    found, sleep = Pace(KEY), clock.sleep
    found.acquire(max_wait=0)
    found.passed()

    def limited_meanwhile(seconds: float) -> None:
        monkeypatch.setattr(clock, "sleep", sleep)
        found.limited(pause=10)
        sleep(seconds)

    monkeypatch.setattr(clock, "sleep", limited_meanwhile)
    began = clock.now
    while clock.now == began:
        assert found.acquire(max_wait=60) == 0
    assert clock.now - began >= timedelta(seconds=10)


def test_pause_of_one_test_does_not_hold_up_the_next(settings: Any, clock: Time) -> None:
    """They have settings of their own, and often the same account."""
    pace.pace_of(KEY).limited(pause=500)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (1000, 1)}
    AccountPace.objects.all().delete()
    assert pace.pace_of(KEY).acquire(max_wait=1) == 0
