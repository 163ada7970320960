"""The metrics: what a scrape says of rows, accounts and workers, and that it never fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cf_images.background import (
    circuit_breaker,
    delete,
    figures,
    heartbeat,
    pace,
    process,
)
from cf_images.background.circuit_breaker import Admission
from cf_images.background.transfers import enqueue_copy
from cf_images.contrib import prometheus
from cf_images.contrib.prometheus import METRICS, CloudflareImagesCollector
from cf_images.models import AccountPace, Reservation, State, Upload, Worker
from tests.background import conftest as background
from tests.background.conftest import ALIAS, Clock, destination_of, refuse_credentials, use_background_storage

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
Labels = tuple[tuple[str, str], ...]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process
clock = background.clock

API = {"account": ALIAS, "host": "api"}


class Scrape:
    """What a server reads: the value of each series."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        registry.register(CloudflareImagesCollector())
        self.text = generate_latest(registry).decode()
        self.series: dict[tuple[str, Labels], float] = {}
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                assert key not in self.series, f"{key} is there twice, for which a server drops the scrape"
                self.series[key] = sample.value

    def value(self, name: str, **labels: str) -> float:
        return self.series[f"cf_images_{name}", tuple(sorted(labels.items()))]


def uploads(found: Scrape) -> dict[str, float]:
    return {state: found.value("uploads", account=ALIAS, state=state) for state in figures.BACKLOG}


def test_without_rows_all_is_zero_and_there(cloudflare: Any) -> None:
    Worker.objects.all().delete()  # the heartbeat of a worker that an earlier test has run
    found = Scrape()
    assert found.value("up") == 1
    assert uploads(found) == {"pending": 0, "rejected": 0, "deleting": 0}
    names = {name for name, _ in found.series}
    expected = {f"{metric.name}{'_total' if metric.is_counter else ''}" for metric in METRICS}
    assert names == {"cf_images_up", *expected} - {"cf_images_pace_requests_per_second"}
    zero = {key for key, value in found.series.items() if not value}
    assert zero == found.series.keys() - {("cf_images_up", ())}


def test_rows_are_counted_by_account_and_state(accept: Accept, cloudflare: Any) -> None:
    stored, deleted = accept(), accept()
    process()
    delete(deleted.name, ALIAS)
    accept()
    accept()
    Upload.objects.filter(pk=accept().pk).update(state=State.REJECTED, next_attempt_at=None)
    found = Scrape()
    assert uploads(found) == {"pending": 2, "rejected": 1, "deleting": 1}
    assert found.value("stored_uploads") == 1
    assert found.value("uploads", account="local", state="pending") == 0
    assert found.value("background_requests_total", **API) >= 1
    assert stored.name not in found.text


def test_aliases_of_one_account_are_one_account(accept: Accept, cloudflare: Any, settings: Any) -> None:
    use_background_storage(settings, cloudflare, "private_images", require_signed_urls=True)
    accept()
    accept(storage="private_images")
    found = Scrape()
    both = f"{ALIAS},private_images"
    assert found.value("uploads", account=both, state="pending") == 2
    assert found.value("paused", account=both, host="api", reason="credentials") == 0


def test_rows_of_an_unknown_account_are_those_of_others(accept: Accept) -> None:
    accept()
    Upload.objects.update(account="https://api.example.com/accounts/0123")
    found = Scrape()
    assert found.value("uploads", account="other", state="pending") == 1
    assert found.value("unprocessable_storages") == 1
    assert found.value("oldest_pending_age_seconds", account="other") < 60


def test_ages_grow_until_the_work_is_done(accept: Accept, clock: Clock, cloudflare: Any) -> None:
    accept()
    clock.advance(minutes=20)
    accept()
    found = Scrape()
    for name, labels in (("oldest_pending", {"account": ALIAS}), ("oldest_due", {})):
        assert 1200 <= found.value(f"{name}_age_seconds", **labels) < 1260
    assert 1200 <= found.value("idle_seconds") < 1260
    process()
    done = Scrape()
    assert done.value("oldest_pending_age_seconds", account=ALIAS) == 0
    assert done.value("oldest_due_age_seconds") == 0
    assert done.value("idle_seconds") == 0


@pytest.mark.parametrize("reason", figures.PAUSE_REASONS)
def test_pause_has_one_reason(accept: Accept, clock: Clock, reason: str) -> None:
    accept()
    admission = Admission(account_key=destination_of(ALIAS).account_key)
    if reason == figures.CREDENTIALS:
        refuse_credentials()
    elif reason == figures.RATE_LIMIT:
        circuit_breaker.rate_limited(admission, retry_after=60)
    else:
        while not circuit_breaker.breakers().exclude(paused_until=None).exists():
            circuit_breaker.failed(admission, "no response")
    clock.advance(seconds=1)
    found = Scrape()
    values = {each: found.value("paused", **API, reason=each) for each in figures.PAUSE_REASONS}
    assert values == {**dict.fromkeys(figures.PAUSE_REASONS, 0), reason: 1}
    assert 1 <= found.value("paused_seconds", **API) < 60
    assert circuit_breaker.resume([admission.account_key]) == 1
    assert Scrape().value("paused", **API, reason=reason) == 0
    assert Scrape().value("paused_seconds", **API) == 0


def test_pause_that_is_over_counts_only_while_something_is_left(accept: Accept, clock: Clock) -> None:
    row = accept()
    circuit_breaker.rate_limited(Admission(account_key=destination_of(ALIAS).account_key), retry_after=60)
    clock.advance(minutes=5)
    assert Scrape().value("paused", **API, reason="rate_limit") == 1
    Upload.objects.filter(pk=row.pk).delete()
    assert Scrape().value("paused", **API, reason="rate_limit") == 0


def test_pace_is_what_is_configured_and_what_was_learned(
    accept: Accept, cloudflare: Any, settings: Any, clock: Clock
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (1200, 300)}
    key = destination_of(ALIAS).account_key
    assert Scrape().value("pace_requests_per_second", **API, source="configured") == pytest.approx(3.24)
    assert 'source="learned"' not in Scrape().text
    AccountPace.objects.create(account_key=key, limit=1.5, limited_at=clock.now(), passed=41)
    found = Scrape()
    assert found.value("pace_requests_per_second", **API, source="learned") == pytest.approx(1.5)
    assert found.value("background_requests_total", **API) == 41
    clock.advance(hours=5)
    assert 'source="learned"' not in Scrape().text, "it has been forgotten"


def test_batch_host_is_there_once_it_is_used(cloudflare: Any) -> None:
    assert 'host="batch"' not in Scrape().text
    key = destination_of(ALIAS).account_key
    AccountPace.objects.create(account_key=pace.batch_key(key), passed=7)
    found = Scrape()
    assert found.value("background_requests_total", account=ALIAS, host="batch") == 7
    assert found.value("background_requests_total", **API) == 0


def test_workers_are_those_that_are_alive(clock: Clock, cloudflare: Any) -> None:
    heartbeat.start()
    heartbeat.worked()
    heartbeat._process.beat()
    Worker.objects.create(name="other", threads=4, seen_at=clock.now())
    found = Scrape()
    assert (found.value("workers"), found.value("worker_threads")) == (2, 5)
    moment = clock.now().timestamp()
    assert moment - 5 < found.value("last_heartbeat_timestamp_seconds") <= moment
    assert moment - 5 < found.value("last_processed_timestamp_seconds") <= moment
    clock.advance(minutes=2)
    later = Scrape()
    assert (later.value("workers"), later.value("worker_threads")) == (0, 0)
    assert later.value("last_heartbeat_timestamp_seconds") == found.value("last_heartbeat_timestamp_seconds")


def test_reservations_and_transfers_are_counted(cloudflare: Any, clock: Clock) -> None:
    now = clock.now()
    common = {"account": destination_of(ALIAS).account_key, "storage": ALIAS, "created_at": now}
    times = {"expires_at": now + timedelta(hours=1), "next_attempt_at": now + timedelta(hours=1)}
    for number, state in enumerate((State.PENDING, State.PENDING, State.DELETING)):
        Reservation.objects.create(key=str(number), state=state, **common, **times)
    done = {"expires_at": now, "next_attempt_at": None}
    Reservation.objects.create(key="saved", state=State.STORED, **common, **done)
    enqueue_copy("a.png", "default", ALIAS)
    found = Scrape()
    assert found.value("reservations", account=ALIAS, state="pending") == 2
    assert found.value("reservations", account=ALIAS, state="deleting") == 1
    assert found.value("reservations", account="local", state="pending") == 0
    states = {state.value: found.value("transfers", state=state.value) for state in State}
    assert states == {**dict.fromkeys(State.values, 0), "pending": 1}


def test_no_secret_and_no_name_is_in_the_text(accept: Accept, cloudflare: Any) -> None:
    row = accept()
    Upload.objects.update(last_error="a secret reason", last_code=5)
    refuse_credentials()
    text = Scrape().text
    for secret in (
        cloudflare.account_id,
        cloudflare.api_token,
        cloudflare.account_hash,
        row.name,
        'reason"}',
    ):
        assert secret not in text, secret
    assert "a secret reason" not in text


def test_rows_cost_no_queries(accept: Accept, cloudflare: Any) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            Scrape()
        return len(queries)

    accept()
    count()  # a process reads its settings once
    few = count()
    for _ in range(20):
        accept()
    assert count() == few
    assert few < 50


def test_registering_queries_nothing_and_finds_a_second_collector(
    cloudflare: Any, django_assert_num_queries: Any
) -> None:
    registry = CollectorRegistry(auto_describe=True)  # as the registry of the process
    with django_assert_num_queries(0):
        registry.register(CloudflareImagesCollector())
    with pytest.raises(ValueError, match="cf_images_up"):
        registry.register(CloudflareImagesCollector())


def test_reason_of_a_driver_may_hold_secrets_and_is_not_logged(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OperationalError("password=hunter2")

    monkeypatch.setattr(prometheus, "figures", fail)
    assert Scrape().series == {("cf_images_up", ()): 0}
    assert "hunter2" not in caplog.text


def test_event_loop_is_up_0_and_the_log_says_what_to_do(
    cloudflare: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def scrape() -> Scrape:
        return Scrape()

    assert asyncio.run(scrape()).series == {("cf_images_up", ()): 0}
    assert "You cannot call this from an async context" in caplog.text
