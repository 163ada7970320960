"""From the commit to Cloudflare's confirmation, with nothing going wrong."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.db import connection, transaction

from cf_images import signals
from cf_images.background import (
    delete,
    enqueue_file,
    has_row,
    open_pending,
    pending_size,
    process,
    queue_notifier,
    remote_id,
    worker,
)
from cf_images.background.chunks import CHUNK_BYTES
from cf_images.exceptions import ImageExistsError, ImageRejectedError, InvalidNameError
from cf_images.images import validate
from cf_images.models import Chunk, State, Upload
from cf_images.signals import image_stored
from cf_images.storage import CloudflareImagesStorage
from tests.background.conftest import ALIAS, Clock, work
from tests.pictures import picture

pytestmark = pytest.mark.django_db(transaction=True)

Accept = Callable[..., Upload]


def test_image_is_stored_under_its_name(accept: Accept, cloudflare: Any) -> None:
    row = accept()
    assert work() == 1
    row.refresh_from_db()
    assert row.state == State.STORED
    assert row.stored_at is not None
    assert cloudflare.images[row.name].body == picture()
    assert cloudflare.images[row.name].metadata["cf_images"]["token"] == row.token


def test_bytes_are_deleted_once_the_image_is_stored(accept: Accept) -> None:
    row = accept()
    assert row.sha256 == hashlib.sha256(picture()).hexdigest()
    assert Chunk.objects.filter(upload=row).count() == 1
    work()
    assert not Chunk.objects.exists()


def test_large_image_is_kept_in_chunks(accept: Accept, cloudflare: Any) -> None:
    body = picture("PNG") + b"\0" * (2 * CHUNK_BYTES)
    row = accept(body)
    assert Chunk.objects.filter(upload=row).count() == 3
    with open_pending(row.name) as file:
        assert file.read() == body
    work()
    assert cloudflare.images[row.name].body == body


def test_pending_image_can_be_read(accept: Accept) -> None:
    row = accept()
    assert has_row(row.name)
    assert pending_size(row.name) == len(picture())
    with open_pending(row.name) as file:
        assert file.read(4) == b"\x89PNG"
        file.seek(0)
        assert file.read() == picture()
    work()
    assert not has_row(row.name)
    assert pending_size(row.name) is None
    assert open_pending(row.name) is None


def test_rollback_leaves_nothing_and_sends_nothing(accept: Accept, cloudflare: Any) -> None:
    with transaction.atomic():
        with transaction.atomic():  # an inner savepoint that is released
            accept()
        transaction.set_rollback(True)
    assert not Upload.objects.exists()
    assert not Chunk.objects.exists()
    assert work() == 0
    assert not cloudflare.requests


def test_queue_is_notified_after_the_commit(accept: Accept, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[int | None] = []
    monkeypatch.setattr("cf_images.background.enqueue.notify", messages.append)
    with transaction.atomic():
        row = accept()
        assert not messages
    assert messages == [row.pk]
    with transaction.atomic():
        delete(row.name, ALIAS)
        assert messages == [row.pk]
    assert messages == [row.pk, row.pk]


def test_commit_hook_that_raises_before_the_packages_costs_only_time(accept: Accept, cloudflare: Any) -> None:
    def hook() -> None:
        raise ZeroDivisionError

    accepted: list[Upload] = []

    @transaction.atomic
    def request() -> None:
        transaction.on_commit(hook)
        accepted.append(accept())

    with pytest.raises(ZeroDivisionError):
        request()
    row = accepted[0]
    assert work() == 1
    assert row.name in cloudflare.images


def test_cloudflare_chooses_the_id_of_a_private_image(accept: Accept, cloudflare: Any) -> None:
    row = accept(require_signed_urls=True)
    assert "~" in row.name
    work()
    row.refresh_from_db()
    assert row.state == State.STORED
    assert row.remote_id != row.name
    assert cloudflare.images[row.remote_id].body == picture()
    assert cloudflare.images[row.remote_id].require_signed_urls
    assert remote_id(row.name) == row.remote_id


def test_deleted_image_is_deleted_at_cloudflare(accept: Accept, cloudflare: Any) -> None:
    row = accept()
    work()
    delete(row.name, ALIAS)
    delete(row.name, ALIAS)
    assert row.name in cloudflare.images
    work()
    assert not cloudflare.images
    assert not Upload.objects.exists()


def test_rolled_back_deletion_deletes_nothing(accept: Accept, cloudflare: Any) -> None:
    row = accept()
    work()
    with transaction.atomic():
        delete(row.name, ALIAS)
        transaction.set_rollback(True)
    assert work() == 0
    assert row.name in cloudflare.images


def test_image_deleted_before_its_upload_is_never_sent(accept: Accept, cloudflare: Any) -> None:
    row = accept()
    delete(row.name, ALIAS)
    assert not has_row(row.name)
    work()
    assert not Upload.objects.exists()
    assert not Chunk.objects.exists()
    assert not cloudflare.requests


@pytest.mark.parametrize("tries", [1, 2])
def test_image_whose_name_is_a_delivery_url_is_deleted_by_the_id_in_it(cloudflare: Any, tries: int) -> None:
    storage = storages[ALIAS]
    storage.client.upload(io.BytesIO(picture()), image_id="old/photo.png")
    name = storage.final_url("old/photo.png", "public")
    for _ in range(tries):
        storage.delete(name)
    assert not storage.exists(name)
    with pytest.raises(FileNotFoundError):
        storage.open(name)
    work()
    assert not cloudflare.images
    storage.delete("https://example.com/foreign.png")
    assert not Upload.objects.exists()


def test_image_without_a_row_is_deleted_too(cloudflare: Any) -> None:
    storages[ALIAS].client.upload(io.BytesIO(picture()), image_id="old.png")
    delete("old.png", ALIAS)
    work()
    assert not cloudflare.images
    delete("old.png", ALIAS)
    work()
    assert not Upload.objects.exists()


def test_signal_tells_what_was_stored(accept: Accept) -> None:
    received: list[dict[str, Any]] = []

    def receive(**arguments: Any) -> None:
        received.append(arguments)

    def fail(**arguments: Any) -> None:
        raise ZeroDivisionError

    image_stored.connect(fail)
    image_stored.connect(receive)
    try:
        row = accept()
        work()
    finally:
        image_stored.disconnect(receive)
        image_stored.disconnect(fail)
    (arguments,) = received
    row.refresh_from_db()
    assert row.state == State.STORED
    assert (arguments["name"], arguments["storage"]) == (row.name, ALIAS)
    assert (arguments["size"], arguments["width"], arguments["height"]) == (len(picture()), 64, 48)


@pytest.mark.parametrize("name", ["image_stored", "image_rejected"])
def test_signals_come_after_the_commit(accept: Accept, cloudflare: Any, name: str) -> None:
    in_transaction: list[bool] = []

    def receive(**_: Any) -> None:
        in_transaction.append(connection.in_atomic_block)

    signal = getattr(signals, name)
    signal.connect(receive)
    row = accept()
    if name == "image_rejected":
        Upload.objects.filter(pk=row.pk).update(metadata={"x": "y" * 2000})
    work()
    signal.disconnect(receive)
    assert in_transaction == [False]


def test_process_takes_the_row_of_the_hint_and_then_others(accept: Accept, cloudflare: Any) -> None:
    rows = [accept() for _ in range(3)]
    assert process(rows[2].pk) == 3
    assert len(cloudflare.images) == 3


def test_message_may_come_twice_or_for_a_row_that_does_not_exist(accept: Accept, cloudflare: Any) -> None:
    row = accept()
    assert process(row.pk) == 1
    assert process(row.pk) == 0
    assert process(row.pk + 1000) == 0
    assert len(cloudflare.requests) == 1


def test_row_of_a_web_server_whose_clock_is_ahead_is_due(accept: Accept, clock: Clock) -> None:
    clock.advance(seconds=30)
    row = accept()
    clock.advance(seconds=-30)
    assert process(row.pk) == 1


@pytest.mark.parametrize("tried", [False, True])
def test_clock_set_back_an_hour_stops_nothing(
    accept: Accept, clock: Clock, cloudflare: Any, *, tried: bool
) -> None:
    accept()
    if tried:
        cloudflare.faults.plan("500")
        assert work() == 1
        clock.advance(minutes=-2)
    clock.advance(hours=-1)
    worker.sweep()
    assert work() == 1
    assert len(cloudflare.images) == 1


def test_image_that_cloudflare_would_reject_is_refused_at_once(accept: Accept) -> None:
    with pytest.raises(ImageRejectedError):
        accept(b"<html>not an image</html>")
    with pytest.raises(ImageRejectedError, match="metadata"):
        accept(metadata={"long": "x" * 1024})
    with pytest.raises(InvalidNameError):
        accept(upload_to="x" * 200)
    assert not Upload.objects.exists()


def test_storage_without_an_alias_is_refused(accept: Accept, settings: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="STORAGES"):
        accept(storage=CloudflareImagesStorage(account_id="x", background=True))


def test_same_name_twice_is_refused(cloudflare: Any) -> None:
    def again() -> None:
        file = io.BytesIO(picture())
        enqueue_file(
            name="exact.png",
            alias=ALIAS,
            file=file,
            info=validate(file),
            filename="exact.png",
            metadata={},
            creator=None,
            require_signed_urls=False,
        )

    again()
    with pytest.raises(ImageExistsError):
        again()
    assert Upload.objects.count() == 1


def test_queue_is_huey_where_djhuey_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert queue_notifier.queue() == "huey"
    monkeypatch.setattr("django.apps.apps.is_installed", lambda _: False)
    assert queue_notifier.queue() == "none"


def test_rows_are_processed_without_time_zones(accept: Accept, cloudflare: Any, settings: Any) -> None:
    settings.USE_TZ = False
    row = accept()
    assert work() == 1
    assert worker.next_due() is None
    row.refresh_from_db()
    assert row.state == State.STORED
