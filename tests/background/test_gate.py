"""The gate: an account that does not answer, or asks for peace, is left in peace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as django_settings

from cf_images.background import gate, sweeper, targets
from cf_images.background.worker import deliver, deliver_one
from cf_images.models import Gate, State, Upload
from tests.background.conftest import Clock, deliver_to, work

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]


def open_passage(account_id: str = "account") -> gate.Passage:
    passage = gate.passage(account_id)
    assert passage is not None
    return passage


def test_five_unclear_answers_shut_it_and_probes_double_the_time(clock: Clock) -> None:
    for _ in range(4):
        gate.unclear(open_passage(), "no answer")
    gate.unclear(open_passage(), "no answer")
    for seconds in (15, 30, 60, 120, 120):
        assert gate.passage("account") is None
        clock.advance(seconds=seconds - 1)
        assert gate.passage("account") is None
        clock.advance(seconds=2)
        probe = open_passage()
        assert probe.probe
        assert gate.passage("account") is None, "one probe at a time"
        gate.unclear(probe, "no answer")


def test_a_clear_answer_in_between_begins_the_count_anew() -> None:
    for _ in range(3):
        for _ in range(4):
            gate.unclear(open_passage(), "no answer")
        gate.answered(open_passage())
    assert gate.passage("account")


def test_probe_that_is_answered_opens_it(clock: Clock) -> None:
    gate.rate_limited(open_passage(), retry_after=None)
    clock.advance(seconds=61)
    gate.answered(open_passage())
    assert open_passage() == open_passage()
    assert Gate.objects.get().reason == ""


def test_answers_to_requests_from_before_neither_open_it_nor_shut_it_longer(clock: Clock) -> None:
    before = open_passage()
    gate.rate_limited(open_passage(), retry_after=30)
    gate.answered(before)
    assert gate.passage("account") is None
    for _ in range(10):
        gate.unclear(before, "no answer")
    clock.advance(seconds=31)
    assert gate.passage("account")


def test_probe_whose_worker_was_killed_shuts_it_for_a_lease_only(clock: Clock) -> None:
    gate.rate_limited(open_passage(), retry_after=30)
    clock.advance(seconds=31)
    assert open_passage().probe
    clock.advance(seconds=181)
    assert open_passage().probe


@pytest.mark.parametrize("retry_after", [0, -3600])
def test_a_pause_of_no_length_still_shuts_it(retry_after: float, clock: Clock) -> None:
    gate.rate_limited(open_passage(), retry_after=retry_after)
    assert gate.passage("account") is None
    clock.advance(seconds=2)
    assert gate.passage("account")


def test_clock_set_back_an_hour_opens_it(clock: Clock) -> None:
    gate.rate_limited(open_passage(), retry_after=60)
    clock.advance(hours=-1)
    assert open_passage().probe


def test_outage_costs_a_handful_of_requests(accept: Accept, cloudflare: Any, clock: Clock) -> None:
    """Ten minutes without an answer, sixty rows waiting, a sweep every second."""
    for _ in range(60):
        accept()
    cloudflare.faults.rates = {"500": 1.0}
    for _ in range(120):
        deliver()
        clock.advance(seconds=5)
    assert len(cloudflare.requests) <= 15
    cloudflare.faults.rates = {}
    clock.advance(seconds=121)
    for _ in range(7):
        deliver()
        clock.advance(seconds=5)
    assert len(cloudflare.images) >= 55


def test_other_accounts_go_on(accept: Accept, cloudflare: Any, settings: Any) -> None:
    """Twenty older rows of an account behind a shut gate are in nobody's way."""
    deliver_to(settings, cloudflare, "other", account_id="f" * 32)
    for _ in range(25):
        accept(storage="other")
    row = accept()
    gate.rate_limited(open_passage("f" * 32), retry_after=600)
    assert deliver_one()
    row.refresh_from_db()
    assert row.state == State.STORED
    assert not deliver_one()


def test_storage_that_left_the_settings_keeps_its_rows(
    accept: Accept, cloudflare: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    row = accept()
    declared = django_settings.STORAGES
    settings.STORAGES = {alias: declared[alias] for alias in ("default", "staticfiles")}
    targets._complained.clear()
    for _ in range(3):
        sweeper.sweep()
        assert work() == 0
    assert [record.message for record in caplog.records if "cloudflare_images" in record.message] == [
        "Images wait for the storage 'cloudflare_images', which cannot be used: it is not in STORAGES"
    ]
    settings.STORAGES = declared
    assert work() == 1
    row.refresh_from_db()
    assert row.state == State.STORED


def test_unusable_token_is_one_line_and_no_harm(
    accept: Accept, cloudflare: Any, settings: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    accept(), accept()
    deliver_to(settings, cloudflare, api_token="op://vault/item")
    for _ in range(3):
        work()
        clock.advance(minutes=6)
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    assert "op run" in Upload.objects.exclude(last_error="")[0].last_error
    deliver_to(settings, cloudflare)
    assert work() >= 2
    assert len(cloudflare.images) == 2


def test_revoked_token_rejects_nothing(
    accept: Accept, cloudflare: Any, settings: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(4):
        accept()
    deliver_to(settings, cloudflare, api_token="revoked")
    for _ in range(4):
        work()
        clock.advance(minutes=6)
    assert len(cloudflare.requests) == 4
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    assert Upload.objects.filter(state=State.PENDING).count() == 4
    deliver_to(settings, cloudflare)
    work()
    assert len(cloudflare.images) == 4
