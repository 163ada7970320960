"""The check of fields that are too short for the names of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.files.storage import storages
from django.db import models
from django.test.utils import isolate_apps

from cf_images import image_fields
from cf_images.storage import select_storage

# Django's own checks, which run, too, ask the database what it supports.
pytestmark = [pytest.mark.usefixtures("bare"), pytest.mark.django_db]


@pytest.fixture
def bare(settings: Any) -> None:
    settings.STORAGES = {
        "default": {"BACKEND": "cf_images.storage.LocalImagesStorage"},
        "cloudflare_images": {"BACKEND": "cf_images.storage.CloudflareImagesStorage"},
    }


def cloudflare() -> object:
    return storages["cloudflare_images"]


def by_callable(instance: object, filename: str) -> str:
    return f"a/very/long/folder/{filename}"


def found(
    monkeypatch: pytest.MonkeyPatch,
    max_length: int,
    upload_to: Any = "",
    storage: Callable[[], Any] = cloudflare,
) -> list[CheckMessage]:
    """Return what the check says about such a field."""
    with isolate_apps("tests.app") as apps:

        class Short(models.Model):
            image = models.ImageField(max_length=max_length, upload_to=upload_to, storage=storage)

            class Meta:
                app_label = "app"

        monkeypatch.setattr(image_fields, "apps", apps)
        messages = [message for message in run_checks() if message.id == "cf_images.E022"]
        assert all(message.obj is Short._meta.get_field("image") for message in messages)
        return messages


@pytest.mark.parametrize(
    ("upload_to", "options", "least"),
    [
        ("", {}, 19),
        ("a/", {}, 21),
        ("%Y/%m", {}, 27),
        ("Straße", {}, 27),
        (by_callable, {}, 19),
        ("", {"background": True}, 19),
        ("", {"require_signed_urls": True, "background": True}, 20),
        ("", {"require_signed_urls": True}, 43),
        ("a/", {"require_signed_urls": True}, 45),
    ],
)
@pytest.mark.parametrize("storage", [cloudflare, select_storage])
@pytest.mark.parametrize("env_name", ["production", "dev"])
def test_a_field_that_is_too_short_is_told_the_least(
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    upload_to: Any,
    options: dict[str, Any],
    least: int,
    storage: Any,
    env_name: str,
) -> None:
    settings.ENV_NAME = env_name
    settings.STORAGES = {
        **settings.STORAGES,
        "cloudflare_images": {"BACKEND": "cf_images.storage.CloudflareImagesStorage", "OPTIONS": options},
    }
    assert found(monkeypatch, least, upload_to, storage) == []
    (message,) = found(monkeypatch, least - 1, upload_to, storage)
    assert f"max_length={least - 1}" in message.msg
    assert f"need {least} characters" in message.msg


def test_given_names_have_no_least(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.CF_IMAGES = {"UNIQUE_NAMES": False}
    assert found(monkeypatch, 5) == []


def test_fields_of_other_storages_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, 5, storage=lambda: storages["default"]) == []
