"""What the doctor says about workers and paused accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cf_images.accounts import find_account
from cf_images.background import circuit_breaker, heartbeat
from cf_images.doctor.findings import Finding, Level
from cf_images.doctor.uploads import uploads
from cf_images.models import Upload
from tests.background import conftest as background
from tests.background.conftest import ALIAS, Clock

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process
clock = background.clock


def found() -> dict[str, Finding]:
    return {finding.name: finding for finding in uploads()}


def test_dead_worker_is_a_failure_that_says_since_when(
    accept: Accept, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept()
    died_at = clock.now()
    monkeypatch.setattr(heartbeat, "last_seen", lambda: died_at)
    clock.advance(minutes=6)
    worker = found()["worker"]
    assert worker.level is Level.FAILURE
    assert worker.message.startswith("No worker has processed anything since ")
    monkeypatch.setattr(heartbeat, "last_seen", clock.now)
    assert found()["worker"].level is Level.OK


def test_no_worker_is_missed_without_work(cloudflare: Any) -> None:
    assert found()["worker"].level is Level.OK


def test_pause_that_is_over_names_no_moment_in_the_past(accept: Accept, clock: Clock) -> None:
    accept()
    account = find_account(ALIAS)
    assert account is not None
    admission = circuit_breaker.admit(account.key)
    assert admission is not None
    circuit_breaker.rate_limited(admission, retry_after=30)
    clock.advance(minutes=1)
    paused = found()["paused"]
    assert "paused until the next attempt" in paused.message
    assert "cf_images resume" in paused.hint
