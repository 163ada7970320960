"""Private images: Cloudflare chooses the ID, so it is reserved and written down before a byte is sent."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlsplit

import pytest
from django.core.files.storage import storages
from django.core.management import call_command
from django.db import connection

from cf_images.background import delete, open_pending, outcomes, resume, rows, timing, upload_from_url
from cf_images.client import CloudflareImagesClient, DirectUpload
from cf_images.exceptions import CloudflareUnavailableError, ImageNotFoundError, ImageRejectedError
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


def requests_to(cloudflare: Any, method: str, part: str) -> int:
    return sum(found.method == method and part in found.path for found in cloudflare.requests)


def test_failed_upload_leaves_no_draft_and_no_second_image(
    row: Upload, cloudflare: Any, clock: Clock
) -> None:
    """The upload URL is not kept, so that the next attempt deletes the draft and reserves another ID."""
    cloudflare.faults.places = ("upload",)
    cloudflare.faults.plan("500")
    work()
    row.refresh_from_db()
    reserved = row.remote_id
    assert cloudflare.images.find(reserved).draft
    finish(row, clock)
    assert row.remote_id != reserved
    assert list(cloudflare.images) == [row.remote_id]
    assert cloudflare.images.find(reserved) is None


def test_upload_without_a_response_is_confirmed_and_not_sent_again(
    row: Upload, cloudflare: Any, clock: Clock
) -> None:
    cloudflare.faults.places = ("upload",)
    cloudflare.faults.plan("reset_after")
    work()
    assert is_stored(row)
    assert list(cloudflare.images) == [row.remote_id]


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
    rows._remote_ids.clear()  # as in a new process
    use_background_storage(settings, cloudflare, background=False)
    storage = storages[ALIAS]
    with storage.open(row.name) as file:
        assert file.read() == picture()
    storage.delete(row.name)
    assert not cloudflare.images


def test_reservation_that_cloudflare_forgot_is_replaced(row: Upload, cloudflare: Any, clock: Clock) -> None:
    cloudflare.faults.places = ("upload",)
    cloudflare.faults.plan("500")
    work()
    cloudflare.reset()
    finish(row, clock)
    assert list(cloudflare.images) == [row.remote_id]


@pytest.mark.parametrize("stored", [False, True])
def test_upload_url_is_nowhere(
    row: Upload,
    cloudflare: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stored: bool,
) -> None:
    """Not in a row, a dump, a pickle, a log (also not of SQL), or an error: whoever has it may upload."""
    caplog.set_level("DEBUG")
    connection.force_debug_cursor = True
    urls: list[str] = []
    reserve = CloudflareImagesClient.create_direct_upload

    def seen(client: Any, **options: Any) -> DirectUpload:
        reserved = reserve(client, **options)
        urls.append(reserved.upload_url)
        return reserved

    monkeypatch.setattr(CloudflareImagesClient, "create_direct_upload", seen)
    cloudflare.faults.places = ("upload",)
    if not stored:
        cloudflare.faults.plan("500")
    try:
        work()
    finally:
        connection.force_debug_cursor = False
    (url,) = urls
    row.refresh_from_db()
    assert is_stored(row) is stored
    dump = io.StringIO()
    call_command("dumpdata", "cf_images", stdout=dump)
    assert row.name in dump.getvalue()
    assert "UPDATE" in str(connection.queries_log), "SQL is logged"
    everything = [
        *(str(found) for found in Upload.objects.values()),
        dump.getvalue(),
        repr(pickle.dumps(row)),
        caplog.text,
        str(connection.queries_log),
        repr(row),
        str(row),
    ]
    secret = urlsplit(url).path.rpartition("/")[2]
    kept = [text for text in everything if url in text]
    assert not kept
    assert secret == row.remote_id, "the path says only the ID, which is no secret"


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
        clock.advance(seconds=100)
        assert work() == 0
        assert requests_to(cloudflare, "POST", "/images/v1") == 1
        clock.advance(seconds=25)
        finish(Upload.objects.get(name=name), clock)

    def test_image_of_a_killed_worker_is_found_after_its_lease(
        self, cloudflare: Any, source: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = upload_from_url(source, require_signed_urls=True)
        with monkeypatch.context() as patched:
            patched.setattr(outcomes, "stored", Mock(side_effect=SystemExit))  # killed
            with pytest.raises(SystemExit):
                work()
        clock.advance(seconds=timing.LEASE.total_seconds())
        assert work() == 1
        assert Upload.objects.get(name=name).state == State.STORED
        assert requests_to(cloudflare, "POST", "/images/v1") == len(cloudflare.images) == 1

    def test_url_of_a_killed_worker_is_sent_again_after_two_minutes(
        self, cloudflare: Any, source: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Cloudflare may still be fetching it, so that it cannot be found yet."""
        name = upload_from_url(source, require_signed_urls=True)
        with monkeypatch.context() as patched:
            patched.setattr(CloudflareImagesClient, "upload_url", Mock(side_effect=SystemExit))
            with pytest.raises(SystemExit):
                work()
        clock.advance(seconds=timing.LEASE.total_seconds())
        assert work() == 1
        assert not requests_to(cloudflare, "POST", "/images/v1")
        clock.advance(seconds=60)
        assert work() == 0
        clock.advance(seconds=20)
        assert work() == 1
        assert Upload.objects.get(name=name).state == State.STORED
        assert requests_to(cloudflare, "POST", "/images/v1") == 1

    def test_refused_request_is_sent_again_without_a_pause_of_its_own(
        self, cloudflare: Any, source: str, clock: Clock
    ) -> None:
        """Cloudflare has not carried it out, so that nothing is to be looked for."""
        name = upload_from_url(source, require_signed_urls=True)
        cloudflare.faults.plan("429")
        work()
        clock.advance(minutes=1)
        assert work() == 1
        assert Upload.objects.get(name=name).state == State.STORED

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


@pytest.fixture
def appear(row: Upload, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Until this function is called, Cloudflare does not find the image that it has, as two attempts saw."""
    real = CloudflareImagesClient.upload_direct

    def lose_response(*args: Any, **options: Any) -> None:
        real(*args, **options)
        raise CloudflareUnavailableError("no response")

    def not_found(*_: Any) -> None:
        raise ImageNotFoundError("not found")

    with monkeypatch.context() as hidden:
        hidden.setattr(CloudflareImagesClient, "details", not_found)
        hidden.setattr(CloudflareImagesClient, "delete", not_found)
        with monkeypatch.context() as lost:
            lost.setattr(CloudflareImagesClient, "upload_direct", lose_response)
            work()
            clock.advance(seconds=2)
            work()
        row.refresh_from_db()
        assert row.missing_at
        yield hidden.undo


def test_image_that_cloudflare_did_not_find_at_first_is_deleted_twice(
    row: Upload, appear: Callable[[], None], cloudflare: Any, clock: Clock
) -> None:
    delete(row.name, ALIAS)
    clock.advance(minutes=1)
    work()
    appear()
    clock.advance(minutes=6)
    work()
    assert list(cloudflare.images) == []
    assert not Upload.objects.exists()


def test_person_who_resumes_does_not_shorten_the_pause_before_the_second_look(
    row: Upload, appear: Callable[[], None], cloudflare: Any, clock: Clock
) -> None:
    resume()
    work()
    appear()
    finish(row, clock)
    assert list(cloudflare.images) == [row.remote_id]
