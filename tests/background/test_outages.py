"""The log of an outage: its beginning, its end, and each image that failed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from cf_images.accounts import find_account
from cf_images.background import circuit_breaker, process
from cf_images.models import CircuitBreaker, State, Upload
from tests.background.conftest import ALIAS, Clock, refuse_credentials, use_background_storage, work

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="cf_images")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def admission() -> circuit_breaker.Admission:
    account = find_account(ALIAS)
    assert account is not None
    admitted = circuit_breaker.admit(account.key)
    assert admitted is not None
    return admitted


def test_outage_of_ten_minutes_leaves_two_lines(
    accept: Accept, cloudflare: Any, sleeping_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(60):
        accept()
    cloudflare.faults.rates = {"500": 1.0}
    for _ in range(120):
        process()
        sleeping_clock.advance(seconds=5)
    (paused,) = warnings(caplog)
    assert paused.startswith(f"Uploads to {ALIAS} are paused until ")
    assert paused.endswith(" 60 images are pending.")
    cloudflare.faults.rates = {}
    sleeping_clock.advance(seconds=121)
    work()
    _, resumed = warnings(caplog)
    assert resumed == (
        f"Uploads to {ALIAS} resume after 12 minutes: 1 image was stored meanwhile, 59 images are pending."
    )
    assert CircuitBreaker.objects.get().paused_since is None


def test_failed_attempt_is_logged_at_info_with_its_name_and_reason(
    accept: Accept, cloudflare: Any, caplog: pytest.LogCaptureFixture
) -> None:
    row = accept()
    cloudflare.faults.rates = {"500": 1.0}
    process()
    (line,) = [record for record in caplog.records if row.name in record.message]
    assert line.levelno == logging.INFO
    row.refresh_from_db()
    assert row.last_error
    assert row.last_error in line.message


def test_second_worker_that_fails_logs_nothing(
    accept: Accept, cloudflare: Any, caplog: pytest.LogCaptureFixture
) -> None:
    accept()
    first, second = admission(), admission()
    circuit_breaker.rate_limited(first, retry_after=30)
    circuit_breaker.rate_limited(second, retry_after=30)
    (line,) = warnings(caplog)
    assert "1 image is pending" in line


def test_account_that_is_paused_each_second_is_not_logged_each_second(
    cloudflare: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(1000):
        circuit_breaker.rate_limited(admission(), retry_after=1)
        clock.advance(seconds=1.1)
        circuit_breaker.responded(admission())
    assert len(warnings(caplog)) == 4  # two pauses in 18 minutes, and the end of each


def test_pause_that_begins_shortly_after_another_is_logged_once_it_lasts(
    cloudflare: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    circuit_breaker.rate_limited(admission(), retry_after=1)
    clock.advance(seconds=2)
    circuit_breaker.responded(admission())
    assert len(warnings(caplog)) == 2
    while not CircuitBreaker.objects.exclude(paused_until=None).exists():
        circuit_breaker.failed(admission(), "no response")
    for _ in range(5):
        clock.advance(seconds=121)
        circuit_breaker.failed(admission(), "no response")
    assert len(warnings(caplog)) == 3
    clock.advance(seconds=121)
    circuit_breaker.responded(admission())
    assert "resume after 12 minutes" in warnings(caplog)[3]


def test_refused_credentials_are_logged_also_during_another_outage(
    cloudflare: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    while not CircuitBreaker.objects.exclude(paused_until=None).exists():
        circuit_breaker.failed(admission(), "no response")
    for _ in range(3):
        clock.advance(minutes=6)
        circuit_breaker.credentials_refused(admission(), "Authentication error (10000)")
    _, refused = warnings(caplog)
    assert "Authentication error (10000)" in refused
    assert "cf_images resume" in refused


def test_log_names_no_account_id_and_no_token(
    accept: Accept, cloudflare: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    accept()
    use_background_storage(settings, cloudflare, api_token="revoked")
    work()
    assert warnings(caplog)
    assert cloudflare.account_id not in caplog.text
    assert "revoked" not in caplog.text


def test_resume_closes_the_breaker_and_is_logged(
    accept: Accept, cloudflare: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    row = accept()
    refuse_credentials()
    assert work() == 0
    key = CircuitBreaker.objects.get().account_key
    assert circuit_breaker.resume([key, "another"]) == 1
    assert circuit_breaker.resume([key]) == 0
    assert "resume after" in warnings(caplog)[-1]
    assert work() == 1
    row.refresh_from_db()
    assert row.state == State.STORED
