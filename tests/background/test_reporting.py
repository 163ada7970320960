"""status(): the figures of background uploads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from cf_images.accounts import find_account
from cf_images.background import circuit_breaker, heartbeat, status, wording
from cf_images.models import CircuitBreaker, State, Upload
from tests.background.conftest import ALIAS, Clock

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]


def test_counts_rows_and_tells_the_age_of_the_oldest(accept: Accept, clock: Clock) -> None:
    accept()
    clock.advance(hours=1)
    accept()
    Upload.objects.filter(pk=accept().pk).update(state=State.REJECTED)
    found = status()
    assert (found.pending, found.rejected, found.stored, found.deleting) == (2, 1, 0, 0)
    assert timedelta(hours=1) <= found.oldest_pending_age < timedelta(hours=1, minutes=1)
    assert found.paused == ()
    assert found.unknown_storages == ()


def test_names_a_paused_account_by_its_storages(accept: Accept, cloudflare: Any) -> None:
    account = find_account(ALIAS)
    assert account is not None
    admission = circuit_breaker.admit(account.key)
    assert admission is not None
    circuit_breaker.credentials_refused(admission, "Authentication error (10000)")
    (paused,) = status().paused
    assert ALIAS in paused.aliases
    assert paused.reason == "Authentication error (10000)"


def test_nothing_is_pending(cloudflare: Any) -> None:
    assert status().oldest_pending_age is None


def test_circuit_breaker_tells_its_state() -> None:
    assert str(CircuitBreaker(account_key="a", reason="no response")) == "a: no response"
    assert str(CircuitBreaker(account_key="a")) == "a: not paused"


def test_idle_is_the_time_for_which_due_work_has_no_worker(
    accept: Accept, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status().idle is None
    seen = clock.now()
    monkeypatch.setattr(heartbeat, "last_seen", lambda: seen)
    clock.advance(days=1)
    accept()
    clock.advance(minutes=4)
    found = status()
    assert found.last_processed_at == seen
    assert found.idle is not None
    assert timedelta(minutes=4) <= found.idle < timedelta(minutes=5), "it is due since then, not for a day"
    assert found.idle_problem() == ""
    clock.advance(minutes=2)
    assert status().idle_problem().startswith("No worker has processed anything since ")


def test_rows_of_a_paused_account_make_no_worker_idle(accept: Accept, cloudflare: Any, clock: Clock) -> None:
    accept()
    account = find_account(ALIAS)
    assert account is not None
    admission = circuit_breaker.admit(account.key)
    assert admission is not None
    circuit_breaker.rate_limited(admission, retry_after=600)
    clock.advance(minutes=9)
    assert status().idle is None


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(seconds=-1), "0 seconds"),
        (timedelta(seconds=1.9), "1 second"),
        (timedelta(seconds=59), "59 seconds"),
        (timedelta(minutes=119), "1 hour"),
        (timedelta(days=2, hours=23), "2 days"),
    ],
)
def test_durations_are_words_with_the_right_plural(length: timedelta, words: str) -> None:
    assert wording.duration(length) == words


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 images are"), (1, "1 image is"), (1200, "1,200 images are")]
)
def test_counts_agree_with_their_verb(number: int, words: str) -> None:
    assert wording.images_are(number) == words


def test_moment_has_a_date_unless_it_is_today(clock: Clock) -> None:
    now = clock.now()
    assert len(wording.moment(now)) < len("2026-01-01 12:00:00")
    assert wording.moment(now - timedelta(days=1)).startswith("20")


def test_moment_without_time_zones(settings: Any) -> None:
    settings.USE_TZ = False
    assert wording.moment(datetime(2020, 1, 2, 3, 4, 5)) == "2020-01-02 03:04:05"  # noqa: DTZ001
