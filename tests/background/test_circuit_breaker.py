"""The circuit breaker: an account that does not respond, or asks to wait, is paused."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cf_images.accounts import find_account
from cf_images.background import circuit_breaker, destinations, leases, process, upload_from_url
from cf_images.background.worker import process_one, sweep
from cf_images.models import CircuitBreaker, State, Upload
from tests.background.conftest import Clock, use_background_storage, work

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]


def open_by_failures() -> None:
    fail(10)


def open_by_credentials() -> None:
    circuit_breaker.credentials_refused(admission(), "no")


def admission(account_key: str = "account") -> circuit_breaker.Admission:
    admitted = circuit_breaker.admit(account_key)
    assert admitted is not None
    return admitted


def fail(times: int) -> None:
    for _ in range(times):
        circuit_breaker.failed(admission(), "no response")


def test_ten_failures_pause_the_account_and_failed_probes_double_the_pause(clock: Clock) -> None:
    fail(9)
    assert not admission().probe
    fail(1)
    for seconds in (2, 4, 8, 16, 32, 60, 60):
        assert circuit_breaker.admit("account") is None
        clock.advance(seconds=seconds - 1)
        assert circuit_breaker.admit("account") is None
        clock.advance(seconds=2)
        probe = admission()
        assert probe.probe
        assert circuit_breaker.admit("account") is None, "one probe at a time"
        circuit_breaker.failed(probe, "no response")


def test_faults_at_random_pause_nothing() -> None:
    """Two of five requests fail, which is no outage."""
    chance = random.Random(1)
    for _ in range(1000):
        admitted = admission()
        if chance.random() < 0.4:
            circuit_breaker.failed(admitted, "no response")
        else:
            circuit_breaker.responded(admitted)
    assert not circuit_breaker.pauses({})


def test_response_in_between_resets_the_count() -> None:
    for _ in range(3):
        fail(9)
        circuit_breaker.responded(admission())
    assert circuit_breaker.admit("account")


@pytest.mark.parametrize("pause", [open_by_failures, open_by_credentials])
def test_probe_with_a_response_resumes(clock: Clock, pause: Callable[[], None]) -> None:
    pause()
    assert circuit_breaker.admit("account") is None
    clock.advance(minutes=6)
    probe = admission()
    assert probe.probe
    assert circuit_breaker.admit("account") is None, "one probe at a time"
    circuit_breaker.responded(probe)
    assert admission() == admission()
    assert CircuitBreaker.objects.get().reason == ""


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, 60), (1, 1), (30, 30), (7200, 600)])
def test_all_workers_go_on_when_the_pause_of_a_rate_limit_is_over(
    clock: Clock, retry_after: float | None, seconds: int
) -> None:
    """Without one that tries first: where many requests are sent, another 429 may come at any time."""
    before = admission()
    circuit_breaker.rate_limited(before, retry_after=retry_after)
    clock.advance(seconds=seconds - 0.5)
    assert circuit_breaker.admit("account") is None
    clock.advance(seconds=1)
    admitted = [admission() for _ in range(5)]
    assert not any(found.probe for found in admitted)
    circuit_breaker.failed(admitted[0], "no response")
    assert not admission().probe, "one failure after a rate limit pauses nothing"


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
    fail(10)
    clock.advance(seconds=3)
    assert admission().probe
    clock.advance(seconds=49)
    assert circuit_breaker.admit("account") is None
    clock.advance(seconds=2)
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
    assert not circuit_breaker.pauses({})
    assert admission()


def test_outage_costs_a_handful_of_requests(accept: Accept, cloudflare: Any, sleeping_clock: Clock) -> None:
    """Ten minutes without a response, sixty pending rows, a worker every five seconds.

    Ten requests open the breaker, then a probe goes out after 2, 4, 8, 16, 32 seconds and each minute.
    """
    for _ in range(60):
        accept()
    cloudflare.faults.rates = {"500": 1.0}
    for _ in range(120):
        process()
        sleeping_clock.advance(seconds=5)
    assert len(cloudflare.requests) <= 30
    cloudflare.faults.rates = {}
    sleeping_clock.advance(seconds=121)
    for _ in range(7):
        process()
        sleeping_clock.advance(seconds=5)
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
        sweep()
        assert work() == 0
    expected = (
        "Images are pending for the storage 'cloudflare_images' and cannot be processed here: "
        "it is not in STORAGES"
    )
    assert [record.message for record in caplog.records if "cloudflare_images" in record.message] == [
        expected
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
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
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
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    assert Upload.objects.filter(state=State.PENDING).count() == 4
    use_background_storage(settings, cloudflare)
    work()
    assert len(cloudflare.images) == 4


@pytest.mark.parametrize("refused", ["revoked", "op://vault/item"])
def test_another_token_resumes_at_once(
    accept: Accept, cloudflare: Any, settings: Any, clock: Clock, refused: str
) -> None:
    accept()
    use_background_storage(settings, cloudflare, api_token=refused)
    work()
    assert circuit_breaker.pauses({})
    assert work() == 0
    use_background_storage(settings, cloudflare)
    assert work() == 1
    assert len(cloudflare.images) == 1
    assert refused not in str(CircuitBreaker.objects.values())
    clock.advance(seconds=11)
    accept()
    assert work() == 1
    assert not circuit_breaker.pauses({})


def test_old_token_of_another_process_is_not_tried_again_and_again(clock: Clock) -> None:
    """While a token is changed, some processes still have the refused one."""
    sent = Counter[str]()
    for _ in range(300):
        for token in ("old", "new"):
            if admitted := circuit_breaker.admit("account", token):
                sent[token] += 1
                if token == "old":
                    circuit_breaker.credentials_refused(admitted, "no")
                else:
                    circuit_breaker.responded(admitted)
        clock.advance(seconds=0.1)
    assert sent["new"] == 300
    assert sent["old"] <= 4


def test_two_refused_tokens_pause_the_account_for_both(clock: Clock) -> None:
    sent = Counter[str]()
    for _ in range(300):
        for token in ("one" * 11, "two" * 11):
            if admitted := circuit_breaker.admit("account", token[:32]):
                sent[token] += 1
                circuit_breaker.credentials_refused(admitted, "no")
        clock.advance(seconds=0.1)
    assert max(sent.values()) == 1
    assert circuit_breaker.admit("account", "a third"), "it is used at once"


def test_another_token_of_a_second_alias_resumes_at_once(
    accept: Accept, cloudflare: Any, settings: Any
) -> None:
    use_background_storage(settings, cloudflare, "private", api_token="revoked")
    accept(storage="private")
    work()
    assert circuit_breaker.pauses({})
    use_background_storage(settings, cloudflare, "private")
    assert work() == 1


def test_another_token_ends_no_pause_of_another_reason(cloudflare: Any, settings: Any) -> None:
    account = find_account("cloudflare_images")
    assert account is not None
    admitted = circuit_breaker.admit(account.key, "one token")
    assert admitted is not None
    circuit_breaker.rate_limited(admitted, retry_after=60)
    assert circuit_breaker.admit(account.key, "another token") is None


def test_image_arrives_though_two_of_five_requests_fail(
    accept: Accept, cloudflare: Any, clock: Clock
) -> None:
    """Within a minute of the clock, one worker a second: no pause of the account, short ones of images."""
    for _ in range(20):
        accept()
    cloudflare.faults.rates = {"500": 0.1, "reset_before": 0.1, "reset_after": 0.1, "cut": 0.1}
    for _ in range(60):
        work()
        assert not circuit_breaker.pauses({})
        clock.advance(seconds=1)
    assert len(cloudflare.images) == 20
    assert not Upload.objects.exclude(state=State.STORED).exists()


def test_closed_breaker_is_read_twice_a_second_at_most(clock: Clock) -> None:
    with CaptureQueriesContext(connection) as captured:
        for _ in range(10):
            circuit_breaker.responded(admission())
    assert len(captured) <= 2
    clock.advance(seconds=1)
    with CaptureQueriesContext(connection) as captured:
        admission()
    assert len(captured) == 1


def test_pause_of_another_process_is_seen_after_a_moment(clock: Clock) -> None:
    admission()
    open_by_failures()
    circuit_breaker._closed()["account"] = clock.now()  # what another process remembers
    assert circuit_breaker.admit("account"), "the price of few queries"
    clock.advance(seconds=0.6)
    assert circuit_breaker.admit("account") is None


@pytest.mark.parametrize(
    "pause",
    [
        open_by_failures,
        open_by_credentials,
        lambda: circuit_breaker.rate_limited(admission(), retry_after=5),
    ],
)
def test_pause_of_this_process_is_seen_at_once(pause: Callable[[], None]) -> None:
    admission()
    pause()
    assert circuit_breaker.admit("account") is None


def test_probe_without_a_row_to_send_is_left_to_another_worker(
    accept: Accept, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker was faster with the last row that was due."""
    row = accept()
    account = find_account("cloudflare_images")
    assert account
    fail_of = circuit_breaker.admit(account.key)
    assert fail_of
    for _ in range(10):
        circuit_breaker.failed(fail_of, "no response")
    clock.advance(seconds=5)
    with monkeypatch.context() as patched:
        patched.setattr(leases, "claim", lambda *_: [])
        assert not process_one(row.pk)
    again = circuit_breaker.admit(account.key)
    assert again
    assert again.probe


def test_a_breaker_read_with_other_time_zone_support_is_read_as_well(settings: Any) -> None:
    settings.USE_TZ = True
    assert circuit_breaker.admit("account")
    settings.USE_TZ = False
    assert circuit_breaker.admit("account")


def test_images_that_cloudflare_may_still_be_fetching_are_no_outage(
    cloudflare: Any, settings: Any, source: str
) -> None:
    """As after an outage or a kill, when a person resumes: Cloudflare says that they are not there yet."""
    local = {"UPLOAD_URL_SCHEMES": ["http"], "UPLOAD_URL_LOCAL_HOSTS": ["127.0.0.1"]}
    settings.CF_IMAGES = {**settings.CF_IMAGES, **local}
    for _ in range(10):
        upload_from_url(source, require_signed_urls=True)
    Upload.objects.update(fetching_since=timezone.now(), attempts=1)
    assert work() == 10
    assert not CircuitBreaker.objects.exclude(failures=0).exists()
    assert not Upload.objects.filter(next_attempt_at__lt=timezone.now() + timedelta(minutes=1)).exists()
