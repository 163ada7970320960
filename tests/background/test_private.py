"""Private images: Cloudflare chooses the ID, so it is reserved and written down before a byte is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.storage import storages

from cf_images.background import delete, open_pending, rows, upload_from_url
from cf_images.client import CloudflareImagesClient
from cf_images.exceptions import ImageRejectedError
from cf_images.models import State, Upload
from tests.background.conftest import ALIAS, Clock, use_background_storage, work
from tests.pictures import picture

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]


@pytest.fixture
def row(accept: Accept) -> Upload:
    return accept(require_signed_urls=True)


def is_stored(row: Upload) -> bool:
    row.refresh_from_db()
    return row.state == State.STORED


def finish(row: Upload, clock: Clock) -> None:
    for _ in range(6):
        work()
        clock.advance(minutes=10)
    assert is_stored(row)


def test_reservation_survives_a_failed_upload(row: Upload, cloudflare: Any, clock: Clock) -> None:
    cloudflare.faults.places = ("upload",)
    cloudflare.faults.plan("500")
    work()
    row.refresh_from_db()
    reserved = row.remote_id
    assert reserved
    assert row.upload_url
    finish(row, clock)
    assert row.remote_id == reserved
    assert list(cloudflare.images) == [reserved]


@pytest.mark.parametrize("fault", ["500", "reset_before", "reset_after", "cut", "429", "internal_5550"])
@pytest.mark.parametrize("place", ["api", "upload"])
def test_one_fault_costs_only_time(
    row: Upload, cloudflare: Any, clock: Clock, fault: str, place: str
) -> None:
    cloudflare.faults.places = (place,)
    cloudflare.faults.plan(fault)
    finish(row, clock)
    full = [image_id for image_id in cloudflare.images if not cloudflare.images[image_id].draft]
    assert full == [row.remote_id]
    assert cloudflare.images[row.remote_id].body == picture()


def test_image_that_cloudflare_rejects_keeps_its_bytes(
    row: Upload, cloudflare: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ImageRejectedError("not like this", status=400, code=5400)

    monkeypatch.setattr(CloudflareImagesClient, "upload_direct", refuse)
    work()
    row.refresh_from_db()
    assert (row.state, row.last_code) == (State.REJECTED, 5400)
    with open_pending(row.name) as file:
        assert file.read() == picture()


def test_lost_response_and_a_fresh_id_that_is_not_found_store_one_image(
    row: Upload, cloudflare: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upload arrives, its response is lost, and the confirmation finds nothing: no second reservation."""
    planned: dict[str, list[str | None]] = {"upload": ["reset_after"], "api": [None, "stale"]}
    monkeypatch.setattr(
        cloudflare.faults,
        "draw",
        lambda place, *_, **__: planned[place].pop(0) if planned[place] else None,
    )
    finish(row, clock)
    assert list(cloudflare.images) == [row.remote_id]
    assert planned == {"upload": [], "api": []}


def test_name_finds_the_image_also_when_background_is_turned_off(
    row: Upload, cloudflare: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    work()
    monkeypatch.setattr(rows, "_remote_ids", {})  # as in a new process
    use_background_storage(settings, cloudflare, background=False)
    storage = storages[ALIAS]
    with storage.open(row.name) as file:
        assert file.read() == picture()
    storage.delete(row.name)
    assert not cloudflare.images


def test_expired_reservation_is_replaced(row: Upload, cloudflare: Any, clock: Clock) -> None:
    cloudflare.faults.places = ("upload",)
    cloudflare.faults.plan("500")
    work()
    row.refresh_from_db()
    first = row.remote_id
    Upload.objects.update(upload_url_expires_at=clock.now())
    finish(row, clock)
    assert row.remote_id != first


def test_reservation_that_cloudflare_forgot_is_replaced(row: Upload, cloudflare: Any, clock: Clock) -> None:
    cloudflare.faults.places = ("upload",)
    cloudflare.faults.plan("500")
    work()
    cloudflare.reset()
    finish(row, clock)
    assert list(cloudflare.images) == [row.remote_id]


def test_upload_url_is_never_logged_or_printed(
    row: Upload, cloudflare: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    cloudflare.faults.places = ("upload",)
    cloudflare.faults.plan("500")
    work()
    row.refresh_from_db()
    assert row.upload_url
    assert row.upload_url not in f"{caplog.text} {row.last_error} {row!r} {row}"


class TestByURL:
    @pytest.fixture(autouse=True)
    def local_sources(self, settings: Any) -> None:
        settings.CF_IMAGES = {
            **settings.CF_IMAGES,
            "UPLOAD_URL_SCHEMES": ["http", "https"],
            "UPLOAD_URL_LOCAL_HOSTS": ["127.0.0.1"],
        }

    def test_lost_response_is_confirmed_by_the_token(
        self, cloudflare: Any, source: str, clock: Clock
    ) -> None:
        name = upload_from_url(source, require_signed_urls=True)
        cloudflare.faults.plan("reset_after")
        row = Upload.objects.get(name=name)
        finish(row, clock)
        assert list(cloudflare.images) == [row.remote_id]
        assert (row.width, row.height) == (64, 48)

    def test_it_is_posted_again_only_after_two_minutes(
        self, cloudflare: Any, source: str, clock: Clock
    ) -> None:
        name = upload_from_url(source, require_signed_urls=True)
        cloudflare.faults.plan("500")
        work()
        posts = [request for request in cloudflare.requests if request.method == "POST"]
        clock.advance(seconds=100)
        assert work() == 0
        clock.advance(seconds=25)
        finish(Upload.objects.get(name=name), clock)
        assert len(posts) == 1

    def test_image_deleted_after_a_lost_response_is_found_and_deleted(
        self, cloudflare: Any, source: str, clock: Clock
    ) -> None:
        name = upload_from_url(source, require_signed_urls=True)
        cloudflare.faults.plan("reset_after")
        cloudflare.faults.plan("500")
        work()
        assert len(cloudflare.images) == 1
        delete(name, ALIAS)
        for _ in range(3):
            work()
            clock.advance(minutes=6)
        assert not cloudflare.images
        assert not Upload.objects.exists()
