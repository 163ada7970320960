"""The circuit breaker: an account that does not respond, or asks to wait, is paused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as django_settings

from cf_images.accounts import find_account
from cf_images.background import circuit_breaker, destinations, process
from cf_images.background.worker import messages_due, process_one
from cf_images.models import CircuitBreaker, State, Upload
from tests.background.conftest import Clock, use_background_storage, work

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]


def admission(account_key: str = "account") -> circuit_breaker.Admission:
    admitted = circuit_breaker.admit(account_key)
    assert admitted is not None
    return admitted


def test_five_failures_pause_the_account_and_failed_probes_double_the_pause(clock: Clock) -> None:
    for _ in range(4):
        circuit_breaker.failed(admission(), "no response")
    circuit_breaker.failed(admission(), "no response")
    for seconds in (15, 30, 60, 120, 120):
        assert circuit_breaker.admit("account") is None
        clock.advance(seconds=seconds - 1)
        assert circuit_breaker.admit("account") is None
        clock.advance(seconds=2)
        probe = admission()
        assert probe.probe
        assert circuit_breaker.admit("account") is None, "one probe at a time"
        circuit_breaker.failed(probe, "no response")


def test_response_in_between_resets_the_count() -> None:
    for _ in range(3):
        for _ in range(4):
            circuit_breaker.failed(admission(), "no response")
        circuit_breaker.responded(admission())
    assert circuit_breaker.admit("account")


def test_probe_with_a_response_resumes(clock: Clock) -> None:
    circuit_breaker.rate_limited(admission(), retry_after=None)
    clock.advance(seconds=61)
    circuit_breaker.responded(admission())
    assert admission() == admission()
    assert CircuitBreaker.objects.get().reason == ""


def test_results_of_earlier_requests_neither_resume_nor_prolong_the_pause(clock: Clock) -> None:
    before = admission()
    circuit_breaker.rate_limited(admission(), retry_after=30)
    circuit_breaker.responded(before)
    assert circuit_breaker.admit("account") is None
    for _ in range(10):
        circuit_breaker.failed(before, "no response")
    clock.advance(seconds=31)
    assert circuit_breaker.admit("account")


def test_probe_whose_worker_was_killed_pauses_for_one_lease_only(clock: Clock) -> None:
    circuit_breaker.rate_limited(admission(), retry_after=30)
    clock.advance(seconds=31)
    assert admission().probe
    clock.advance(seconds=181)
    assert admission().probe


@pytest.mark.parametrize("retry_after", [0, -3600])
def test_pause_without_a_length_still_pauses(retry_after: float, clock: Clock) -> None:
    circuit_breaker.rate_limited(admission(), retry_after=retry_after)
    assert circuit_breaker.admit("account") is None
    clock.advance(seconds=2)
    assert circuit_breaker.admit("account")


def test_clock_set_back_an_hour_ends_the_pause(clock: Clock) -> None:
    circuit_breaker.rate_limited(admission(), retry_after=60)
    clock.advance(hours=-1)
    assert admission().probe


def test_outage_costs_a_handful_of_requests(accept: Accept, cloudflare: Any, clock: Clock) -> None:
    """Ten minutes without a response, sixty pending rows, a worker every five seconds."""
    for _ in range(60):
        accept()
    cloudflare.faults.rates = {"500": 1.0}
    for _ in range(120):
        process()
        clock.advance(seconds=5)
    assert len(cloudflare.requests) <= 15
    cloudflare.faults.rates = {}
    clock.advance(seconds=121)
    for _ in range(7):
        process()
        clock.advance(seconds=5)
    assert len(cloudflare.images) >= 55


def test_other_accounts_continue(accept: Accept, cloudflare: Any, settings: Any) -> None:
    """Twenty-five older rows of a paused account do not hold up the rows of another."""
    use_background_storage(settings, cloudflare, "other", account_id="f" * 32)
    for _ in range(25):
        accept(storage="other")
    row = accept()
    other = find_account("other")
    assert other is not None
    circuit_breaker.rate_limited(admission(other.key), retry_after=600)
    assert process_one()
    row.refresh_from_db()
    assert row.state == State.STORED
    assert not process_one()


def test_aliases_of_one_account_are_paused_together(accept: Accept, cloudflare: Any, settings: Any) -> None:
    use_background_storage(settings, cloudflare, "private", require_signed_urls=True)
    accept()
    private = find_account("private")
    assert private is not None
    circuit_breaker.rate_limited(admission(private.key), retry_after=600)
    assert not process_one()
    assert not cloudflare.requests


def test_storage_that_was_removed_from_the_settings_keeps_its_rows(
    accept: Accept, cloudflare: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    row = accept()
    declared = django_settings.STORAGES
    settings.STORAGES = {alias: declared[alias] for alias in ("default", "staticfiles")}
    destinations._reported.clear()
    for _ in range(3):
        messages_due()
        assert work() == 0
    assert [record.message for record in caplog.records if "cloudflare_images" in record.message] == [
        "Images are pending for the storage 'cloudflare_images', which cannot be used: it is not in STORAGES"
    ]
    settings.STORAGES = declared
    assert work() == 1
    row.refresh_from_db()
    assert row.state == State.STORED


def test_unusable_token_is_logged_once_and_does_no_harm(
    accept: Accept, cloudflare: Any, settings: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    accept()
    accept()
    use_background_storage(settings, cloudflare, api_token="op://vault/item")
    for _ in range(3):
        work()
        clock.advance(minutes=6)
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    assert "op run" in Upload.objects.exclude(last_error="")[0].last_error
    use_background_storage(settings, cloudflare)
    assert work() >= 2
    assert len(cloudflare.images) == 2


def test_revoked_token_rejects_nothing(
    accept: Accept, cloudflare: Any, settings: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(4):
        accept()
    use_background_storage(settings, cloudflare, api_token="revoked")
    for _ in range(4):
        work()
        clock.advance(minutes=6)
    assert len(cloudflare.requests) == 4
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    assert Upload.objects.filter(state=State.PENDING).count() == 4
    use_background_storage(settings, cloudflare)
    work()
    assert len(cloudflare.images) == 4
