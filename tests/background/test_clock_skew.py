"""Machines whose clocks differ by a minute: nothing is lost, nothing is stored twice, and the pace holds.

Leases, pauses and slots are moments of the machine that writes them. Where clocks differ by more, attempts
may be wasted; the doctor warns from 30 seconds.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from cf_images.background import circuit_breaker, delete, upload_from_file, upload_from_url, worker
from cf_images.background.rows import unfinished
from cf_images.client import CloudflareImagesClient
from cf_images.models import State, Upload
from tests.background.conftest import ALIAS, Clock, claim, destination_of, is_due, work
from tests.pictures import picture

pytestmark = pytest.mark.django_db(transaction=True)

SKEWS = (-60, 11, 60)  # seconds by which the clock of the second machine is ahead
KINDS = ("public", "private", "public by URL", "private by URL")
REQUESTS = (
    "upload",
    "upload_url",
    "upload_direct",
    "details",
    "delete",
    "list_images",
    "create_direct_upload",
)


@pytest.fixture
def allow_source(settings: Any, cloudflare: Any) -> None:
    local = {"UPLOAD_URL_SCHEMES": ["http"], "UPLOAD_URL_LOCAL_HOSTS": ["127.0.0.1"]}
    settings.CF_IMAGES = {**settings.CF_IMAGES, **local}


def accept(kind: str, source: str) -> Upload:
    private = kind.startswith("private")
    if kind.endswith("URL"):
        name = upload_from_url(source, require_signed_urls=private)
    else:
        name = upload_from_file(io.BytesIO(picture()), filename="a.png", require_signed_urls=private)
    return Upload.objects.get(name=name)


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Return a function that lets ``meanwhile`` run before or after the request with a number, from 0."""

    def interrupt_request(chosen: int, *, after: bool, meanwhile: Callable[[], object]) -> list[int]:
        requests: list[int] = []

        def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
            def request(*args: Any, **options: Any) -> Any:
                is_chosen = len(requests) == chosen
                requests.append(len(requests))
                if is_chosen and not after:
                    meanwhile()
                try:
                    return real(*args, **options)
                finally:
                    if is_chosen and after:
                        meanwhile()

            return request

        for name in REQUESTS:
            real = getattr(CloudflareImagesClient, name)
            monkeypatch.setattr(CloudflareImagesClient, name, wrapped(real))
        return requests

    return interrupt_request


def finish(clock: Clock) -> None:
    """Let time pass and workers work until nothing is left to do."""
    for _ in range(20):
        worker.sweep()
        work()
        if not unfinished().exists():
            return
        clock.advance(minutes=6)
    pytest.fail("something is still pending")


def stored(cloudflare: Any) -> list[str]:
    return [image_id for image_id, image in cloudflare.images.items() if not image.draft]


@pytest.mark.parametrize("skew", SKEWS)
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("request_number", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_second_worker_in_the_middle_of_an_upload_stores_it_once(
    kind: str,
    request_number: int,
    after: bool,
    skew: int,
    cloudflare: Any,
    clock: Clock,
    source: str,
    allow_source: None,
    interrupt: Callable[..., list[int]],
) -> None:
    row = accept(kind, source)
    tried: list[int] = []

    def other_machine() -> None:
        clock.advance(seconds=skew)
        tried.append(work())
        clock.advance(seconds=-skew)

    interrupt(request_number, after=after, meanwhile=other_machine)
    worker.process_one()
    finish(clock)
    row.refresh_from_db()
    assert row.state == State.STORED
    assert stored(cloudflare) == [row.remote_id]
    assert cloudflare.images[row.remote_id].body == picture()
    if skew == 60 and kind == "public" and request_number == 0:
        assert tried == [1], "the lease is over for a clock that is a minute ahead"


@pytest.mark.parametrize("skew", SKEWS)
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_image_that_is_deleted_while_another_machine_uploads_it_does_not_survive(
    kind: str,
    after: bool,
    skew: int,
    cloudflare: Any,
    clock: Clock,
    source: str,
    allow_source: None,
    interrupt: Callable[..., list[int]],
) -> None:
    row = accept(kind, source)

    def other_machine() -> None:
        delete(row.name, ALIAS)
        clock.advance(seconds=skew)
        work()
        clock.advance(seconds=-skew)

    interrupt(0, after=after, meanwhile=other_machine)
    worker.process_one()
    finish(clock)
    assert not Upload.objects.exists()
    assert stored(cloudflare) == []


@pytest.mark.parametrize("skew", SKEWS)
def test_pause_ends_for_each_machine_within_a_minute_of_its_end(
    skew: int, cloudflare: Any, clock: Clock
) -> None:
    key = destination_of(ALIAS).account_key
    admission = circuit_breaker.admit(key)
    assert admission
    circuit_breaker.rate_limited(admission, retry_after=300)
    clock.advance(seconds=skew)
    assert circuit_breaker.admit(key) is None
    assert key in circuit_breaker.pauses({})
    clock.advance(seconds=301)
    if skew < 0:
        assert circuit_breaker.admit(key) is None
        clock.advance(seconds=-skew)
    assert circuit_breaker.admit(key)


@pytest.mark.parametrize("skew", SKEWS)
def test_row_of_one_machine_is_due_on_the_other(
    skew: int, cloudflare: Any, clock: Clock, source: str
) -> None:
    accept("public", source)
    clock.advance(seconds=skew)
    assert is_due(ALIAS)


def test_lease_of_a_machine_that_is_ahead_ends_within_two_minutes(
    cloudflare: Any, clock: Clock, source: str
) -> None:
    row = accept("public", source)
    clock.advance(seconds=60)
    assert claim(row.pk)
    clock.advance(seconds=-60)
    assert claim(row.pk) is None
    clock.offset += timedelta(seconds=111)
    assert claim(row.pk)


def test_image_that_superseded_a_deletion_is_stored_although_the_clock_was_set_back(
    cloudflare: Any, clock: Clock, source: str
) -> None:
    row = accept("public", source)
    Upload.objects.update(deletion_ends_at=clock.now() + timedelta(days=1))
    work()
    row.refresh_from_db()
    assert row.state == State.PENDING, "a DELETE may still arrive"
    clock.advance(minutes=6)
    work()
    row.refresh_from_db()
    assert row.state == State.STORED
