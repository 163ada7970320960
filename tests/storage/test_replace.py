"""``replace()``: the new image has a new name, and the old one is deleted after the commit."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from django.db import transaction

from cf_images import background
from cf_images.exceptions import CloudflareUnavailableError, ImageExistsError, ImageRejectedError
from tests.conftest import point_at
from tests.pictures import picture

pytestmark = pytest.mark.django_db(transaction=True)

OLD, NEW = picture(), picture(seed=2)


@pytest.fixture(params=["local", "direct", "background", "private direct", "private background"])
def storage(request: pytest.FixtureRequest, settings: Any, tmp_path: Any) -> Storage:
    *private, kind = request.param.split()
    if kind == "local":
        settings.MEDIA_ROOT = tmp_path
        return storages["default"]
    options = {"require_signed_urls": bool(private), "background": kind == "background"}
    point_at(settings, request.getfixturevalue("cf_images_emulator"), queue="none", **options)
    return storages["cloudflare_images"]


def save(storage: Storage) -> str:
    return storage.save("people/jane.png", ContentFile(OLD))


def content_of(storage: Storage, name: str) -> bytes:
    with storage.open(name) as file:
        return file.read()


def test_the_new_image_has_a_new_name_and_the_old_one_is_gone(storage: Any) -> None:
    old = save(storage)
    new = storage.replace(old, ContentFile(NEW))
    assert new != old
    assert content_of(storage, new) == NEW
    assert not storage.exists(old)


def test_the_new_name_is_like_the_first_one(storage: Any) -> None:
    name = save(storage)
    for seed in range(3, 6):
        name = storage.replace(name, ContentFile(picture(seed=seed)))
    assert name.startswith("people/jane")
    if (
        storage is not storages["default"]
    ):  # Django's own way of finding a free name makes it longer each time
        assert len(name) == len(save(storage))


def test_until_the_commit_both_are_there(storage: Any) -> None:
    old = save(storage)
    with transaction.atomic():
        new = storage.replace(old, ContentFile(NEW))
        assert content_of(storage, new) == NEW
    assert not storage.exists(old)


def test_a_rollback_keeps_the_old_image(storage: Any) -> None:
    old = save(storage)
    with transaction.atomic():
        storage.replace(old, ContentFile(NEW))
        transaction.set_rollback(True)
    assert content_of(storage, old) == OLD


def test_a_rollback_of_another_database_keeps_the_old_image(
    storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    callbacks: list[Any] = []
    monkeypatch.setattr(transaction, "on_commit", lambda *args, **kwargs: callbacks.append((args, kwargs)))
    old = save(storage)
    callbacks.clear()
    storage.replace(old, ContentFile(NEW), using="other")
    assert storage.exists(old)
    (delete,) = [args[0] for args, kwargs in callbacks if kwargs["using"] == "other"]
    delete()
    assert not storage.exists(old)


def test_what_is_refused_replaces_nothing(storage: Any) -> None:
    old = save(storage)
    with pytest.raises(ImageRejectedError):
        storage.replace(old, ContentFile(b"no image"))
    assert content_of(storage, old) == OLD


@pytest.mark.parametrize("nothing", ["", None])
def test_without_an_old_image_it_saves(storage: Any, nothing: str | None) -> None:
    name = storage.replace(nothing, ContentFile(NEW, name="people/jane.png"))
    assert content_of(storage, name) == NEW


def test_the_old_image_is_deleted_and_the_new_one_stored_in_the_background(
    cf_images_emulator: Any, settings: Any
) -> None:
    point_at(settings, cf_images_emulator, background=True, queue="none")
    storage: Any = storages["cloudflare_images"]
    old = save(storage)
    background.process()
    new = storage.replace(old, ContentFile(NEW))
    while background.process():
        pass
    assert list(cf_images_emulator.images) == [new]


def test_an_outage_after_the_commit_keeps_the_new_image(cloudflare: Any, images: Any, caplog: Any) -> None:
    old = save(images)
    new = images.save("people/jane.png", ContentFile(NEW))
    cloudflare.faults.set(rates={"500": 1.0})
    with pytest.raises(CloudflareUnavailableError):
        images.delete(old)
    images._delete_after_commit(old, using=None)  # robust: a response must not fail for this
    cloudflare.faults.set(rates={})
    assert images.exists(new)


def test_an_image_whose_name_is_a_url_is_replaced_too(cloudflare: Any, images: Any) -> None:
    old = images.url(save(images))
    new = images.replace(old, ContentFile(NEW))
    assert new.startswith("people/jane-")
    assert list(cloudflare.images) == [new]


def test_a_foreign_url_is_replaced_and_its_image_not_deleted(cloudflare: Any, images: Any) -> None:
    new = images.replace("https://social.example/a/jane.jpg", ContentFile(NEW, name="me.png"))
    assert new.startswith("me-")
    assert list(cloudflare.images) == [new]


def test_a_given_name_cannot_be_overwritten(cloudflare: Any, images: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "UNIQUE_NAMES": False}
    old = save(images)
    with pytest.raises(ImageExistsError):
        images.replace(old, ContentFile(NEW))
    assert content_of(images, old) == OLD
