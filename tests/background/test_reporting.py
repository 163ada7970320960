"""status(): the figures of background uploads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from cf_images.accounts import find_account
from cf_images.background import circuit_breaker, status
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
